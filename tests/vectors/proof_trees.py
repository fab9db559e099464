"""Mutations of inclusion and consistency proofs: other hashes, paths, places and sizes, up to numbers beyond all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.vectors.proof_lies import OTHER

Inputs = dict[str, Any]
NUMBERS = ("size", "index", "old_size", "new_size")
HUGE = (2**31, 2**32, 2**53, 2**62, 2**63 - 1, 2**63, 2**64, 10**40)


def tree_mutations(inputs: Inputs, long: bool) -> Iterator[tuple[str, Inputs]]:
    """Yield what is changed of the inputs of a proof; paths beyond all trees only where `long`."""
    for name in [name for name in NUMBERS if name in inputs]:
        number = int(inputs[name])
        for other in sorted({number - 1, number + 1, number * 2, 0, -1, *HUGE} - {number}):
            yield f"{name} {other}", {name: str(other)}
    for name in [name for name in ("leaf", "root", "old_root", "new_root") if name in inputs]:
        for what, changed in _hashes(bytes.fromhex(inputs[name])):
            yield f"{name} {what}", {name: changed.hex()}
    if "old_root" in inputs and inputs["old_root"] != inputs["new_root"]:
        yield "roots swapped", {"old_root": inputs["new_root"], "new_root": inputs["old_root"]}
        yield "sizes swapped", {"old_size": inputs["new_size"], "new_size": inputs["old_size"]}
    for what, path in _paths([bytes.fromhex(item) for item in inputs["path"]], long):
        yield f"path {what}", {"path": [item.hex() for item in path]}
    if "leaf" in inputs and inputs["path"]:
        yield (
            "leaf and its neighbour swapped",
            {"leaf": inputs["path"][0], "path": [inputs["leaf"], *inputs["path"][1:]]},
        )


def _hashes(value: bytes) -> Iterator[tuple[str, bytes]]:
    yield "with its first bit flipped", bytes([value[0] ^ 0x80]) + value[1:]
    yield "with its last bit flipped", value[:-1] + bytes([value[-1] ^ 1])
    yield "of zeros", bytes(32)
    yield "of 31 bytes", value[:-1]
    yield "of 33 bytes", value + b"\0"
    yield "empty", b""


def _paths(path: list[bytes], long: bool) -> Iterator[tuple[str, list[bytes]]]:
    yield "with a hash more", [*path, OTHER]
    yield "with a hash more at its beginning", [OTHER, *path]
    if long:
        yield from ((f"with {count} hashes", [*path, *[OTHER] * (count - len(path))]) for count in (63, 64, 65, 1_000))
    if not path:
        return
    yield "empty", []
    yield "without its first hash", path[1:]
    yield "without its last hash", path[:-1]
    yield "with its last hash twice", [*path, path[-1]]
    yield "turned round", path[::-1]
    for place in range(len(path) - 1):
        yield (
            f"with hashes {place} and {place + 1} swapped",
            [*path[:place], path[place + 1], path[place], *path[place + 2 :]],
        )
    for place, item in enumerate(path):
        changed = bytearray(item)
        changed[place] ^= 1 << place % 8
        yield f"with a bit of hash {place} flipped", [*path[:place], bytes(changed), *path[place + 1 :]]
    yield "with a hash of 31 bytes", [path[0][:-1], *path[1:]]
    yield "with an empty hash", [b"", *path[1:]]
