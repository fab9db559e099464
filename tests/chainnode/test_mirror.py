"""A mirror of the log: what is copied, what is refused, and that nothing good is lost by a lie or an interruption."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chainnode.client import TimedOut, Unreachable
from chainnode.log_source import DirectorySource, LogSource
from chainnode.mirror import Mirror, Round
from chainnode.mirror_files import MirrorFiles
from chainnode.monitoring import Alarm, Trust
from ledger.forks import Contradiction, verify_fork
from ledger.reader import LedgerReader
from ledger.signed_trees import TileMissing
from ledger.tile_paths import ENTRIES
from primitives.errors import InputError, ProofError, StorageError
from primitives.hashing import leaf_hash
from primitives.merkle import root_of
from tests.chainnode.mirror_fixtures import Lie, Served, chain, grow, policy_of
from tests.rpc.conftest import MemoryNode


@contextmanager
def opened(directory: Path, policy: str, *sources: LogSource, entries: bool = True) -> Iterator[Mirror]:
    files = MirrorFiles(directory)
    with files.opened():
        yield Mirror(files, Trust(files.policy() or policy), sources, entries=entries)


def step(directory: Path, policy: str, *sources: LogSource, entries: bool = True) -> Round:
    with opened(directory, policy, *sources, entries=entries) as mirror:
        return mirror.step()


def snapshot(directory: Path) -> dict[str, bytes]:
    """Return what a web server would serve of a mirror."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and ".mirror" not in path.parts
    }


def check(directory: Path, policy: str) -> Round:
    with opened(directory, policy) as mirror:
        return mirror.check()


def leaves_of(directory: Path, size: int) -> list[bytes]:
    """Return the entries of a mirror as a stranger reads them from its files."""
    leaves: list[bytes] = []
    while len(leaves) < size:
        index, rest = len(leaves) // 256, min(256, size - len(leaves))
        data = (directory / f"tile/entries/{index:03d}{'' if rest == 256 else f'.p/{rest}'}").read_bytes()
        while data:
            length = int.from_bytes(data[:2], "big")
            leaves.append(data[2 : 2 + length])
            data = data[2 + length :]
    return leaves


@pytest.fixture(scope="module")
def long() -> MemoryNode:
    """Return a chain of more than two full tiles."""
    return chain(100, 200, 300)


@pytest.fixture
def node() -> MemoryNode:
    return chain(5, 3)


def test_a_mirror_holds_every_tile_and_entry_of_its_checkpoint(long: MemoryNode, tmp_path: Path) -> None:
    policy = policy_of(long)
    found = step(tmp_path, policy, Served(long.reader))
    size = long.chain.log_size
    assert found.new_leaves == size > 512
    names = snapshot(tmp_path)
    assert set(names) == {
        "checkpoint",
        "policy",
        *(f"tile/{level}/{place}" for level in (0, ENTRIES) for place in ("000", "001", f"002.p/{size - 512}")),
        "tile/1/000.p/2",
    }
    leaves = leaves_of(tmp_path, size)
    assert root_of([leaf_hash(leaf) for leaf in leaves]) == long.reader.log_root(size)
    assert found.seen is not None
    assert found.seen.checkpoint.root == long.reader.log_root(size)
    assert (found.tiles, found.bundles) == (4, 3)
    assert check(tmp_path, policy).tiles == 4


def test_a_mirror_grows_with_the_log_and_keeps_what_earlier_checkpoints_need(node: MemoryNode, tmp_path: Path) -> None:
    policy, source = policy_of(node), Served(node.reader)
    sizes = []
    for count in (1, 60, 200, 7, 300, 1):
        grow(node, count)
        sizes.append(node.chain.log_size)
        before = {path: data for path, data in snapshot(tmp_path).items() if ".p/" not in path and "tile" in path}
        assert step(tmp_path, policy, source).new_leaves == sizes[-1] - (sizes[-2] if len(sizes) > 1 else 0)
        after = snapshot(tmp_path)
        assert {path: after[path] for path in before} == before, "a full tile never changes"
        check(tmp_path, policy)
    # A reader of any checkpoint since the newest full tile finds its partial tile, of an older one the full tile.
    for size in sizes:
        index, width = divmod(size, 256)
        partial = tmp_path / f"tile/0/{index:03d}.p/{width}"
        full = tmp_path / f"tile/0/{index:03d}"
        assert partial.exists() != full.exists()
        data = (partial if partial.exists() else full).read_bytes()
        assert data[: width * 32] == node.reader.tile(0, index, width)


def test_only_what_is_new_is_asked_for(long: MemoryNode, tmp_path: Path) -> None:
    node = chain(300)
    source = Served(node.reader)
    step(tmp_path, policy_of(node), source)
    source.asked.clear()
    step(tmp_path, policy_of(node), source)
    assert source.asked == ["checkpoint", "handovers/0"]
    size = node.chain.log_size
    grow(node, 20)
    source.asked.clear()
    step(tmp_path, policy_of(node), source)
    width = node.chain.log_size - 256
    assert size - 256 < width < 256
    assert [path for path in source.asked if path.startswith("tile")] == [
        f"tile/0/001.p/{width}",
        "tile/1/000.p/1",
        f"tile/entries/001.p/{width}",
    ] or sorted(source.asked) == sorted(
        ["checkpoint", "handovers/0", f"tile/0/001.p/{width}", "tile/1/000.p/1", f"tile/entries/001.p/{width}"]
    )


def test_hashes_alone_can_be_mirrored_and_the_entries_follow_when_they_are_asked_for(
    long: MemoryNode, tmp_path: Path
) -> None:
    policy, source = policy_of(long), Served(long.reader)
    assert step(tmp_path, policy, source, entries=False).bundles == 0
    assert not (tmp_path / "tile" / ENTRIES).exists()
    assert not any(ENTRIES in path for path in source.asked)
    found = step(tmp_path, policy, source)
    assert (found.new_leaves, found.bundles) == (0, 3)
    assert check(tmp_path, policy).bundles == 3
    source.asked.clear()
    assert step(tmp_path, policy, source).bundles == 0
    assert not any("tile" in path for path in source.asked)


def test_a_mirror_of_a_mirror_is_the_same_files(long: MemoryNode, tmp_path: Path) -> None:
    policy = policy_of(long)
    step(tmp_path / "a", policy, Served(long.reader))
    step(tmp_path / "b", policy, DirectorySource(tmp_path / "a"))
    assert snapshot(tmp_path / "a") == snapshot(tmp_path / "b")


def test_the_newest_of_several_sources_counts_and_who_is_behind_is_told_of(node: MemoryNode, tmp_path: Path) -> None:
    older = node.checkpoint()
    grow(node, 4)
    found = step(tmp_path, policy_of(node), Served(node.reader, "b", note=older), Served(node.reader, "a"))
    assert found.seen is not None
    assert (found.seen.source, found.seen.checkpoint.size) == ("a", node.chain.log_size)
    assert [seen.source for seen in found.behind] == ["b"]
    assert not found.refused


def test_an_older_checkpoint_of_a_lagging_node_is_no_rollback(node: MemoryNode, tmp_path: Path) -> None:
    policy, older = policy_of(node), node.checkpoint()
    grow(node, 4)
    step(tmp_path, policy, Served(node.reader))
    before = snapshot(tmp_path)
    found = step(tmp_path, policy, Served(node.reader, "late", note=older))
    assert [seen.source for seen in found.behind] == ["late"]
    assert snapshot(tmp_path) == before


def test_a_checkpoint_that_was_signed_anew_takes_the_place_of_the_older_one(node: MemoryNode, tmp_path: Path) -> None:
    policy, older = policy_of(node), node.checkpoint()
    step(tmp_path, policy, Served(node.reader))
    node.now += 60_000
    newer = node.checkpoint()
    assert step(tmp_path, policy, Served(node.reader)).renewed
    assert (tmp_path / "checkpoint").read_text() == newer != older
    assert not step(tmp_path, policy, Served(node.reader, note=older)).renewed
    assert (tmp_path / "checkpoint").read_text() == newer


# -- contradictions


def alarm_of(directory: Path, policy: str, *sources: LogSource) -> Alarm:
    """Return the alarm of a round, having checked that nothing that was there changed and that the file convinces."""
    before = {path: data for path, data in snapshot(directory).items() if not path.startswith("forks/")}
    with pytest.raises(Alarm) as caught:
        step(directory, policy, *sources)
    after = {path: data for path, data in snapshot(directory).items() if not path.startswith("forks/")}
    assert after == before | ({} if before else {"policy": policy.encode()} if "policy" in after else {})
    alarm = caught.value
    assert alarm.path.parent == directory / "forks"
    assert verify_fork(alarm.path.read_text(), policy).contradiction is alarm.verdict.contradiction
    return alarm


def fork_of(node: MemoryNode, blocks: int, *then: int) -> MemoryNode:
    """Return a chain of the same genesis and validators that went another way after the genesis."""
    other = MemoryNode()
    grow(other, *([1] * blocks), *then, first=7)
    assert other.chain.chain_id == node.chain.chain_id
    return other


def test_another_root_for_the_same_size_is_a_fork(node: MemoryNode, tmp_path: Path) -> None:
    policy = policy_of(node)
    step(tmp_path, policy, Served(node.reader))
    other = chain(5, 3, first=7)
    assert other.chain.log_size == node.chain.log_size
    alarm = alarm_of(tmp_path, policy, Served(other.reader, "liar"))
    assert alarm.verdict.contradiction is Contradiction.ONE_SIZE
    assert len(alarm.verdict.accused) == 3
    assert "liar" in str(alarm)
    assert "ALARM" in str(alarm)


@pytest.mark.parametrize("more", [1, 2, 240, 260, 600])
def test_a_larger_log_of_another_history_is_a_fork(node: MemoryNode, tmp_path: Path, more: int) -> None:
    policy = policy_of(node)
    step(tmp_path, policy, Served(node.reader))
    other = chain(5, 3, more, first=7)
    alarm = alarm_of(tmp_path, policy, Served(other.reader, "liar"))
    assert alarm.verdict.contradiction is Contradiction.OTHER_HISTORY
    assert alarm.verdict.first.checkpoint.size == node.chain.log_size


@pytest.mark.parametrize("size", [1, 2, 8, 255, 256, 257, 300, 512, 560])
def test_a_smaller_log_of_another_history_is_a_fork(long: MemoryNode, tmp_path: Path, size: int) -> None:
    policy = policy_of(long)
    step(tmp_path, policy, Served(long.reader))
    other = chain(100, 200, 300, first=7)
    forged = Served(other.reader, "liar", note=other.checkpoint_at(size))
    if size == 1:  # both have the one genesis
        assert [seen.source for seen in step(tmp_path, policy, forged).behind] == ["liar"]
        return
    alarm = alarm_of(tmp_path, policy, forged)
    assert alarm.verdict.contradiction is Contradiction.OTHER_HISTORY
    assert alarm.verdict.first.checkpoint.size == size


def test_two_sources_that_show_two_histories_are_a_fork_for_a_new_mirror_too(tmp_path: Path) -> None:
    one, other = chain(5, 3), chain(5, 9, first=7)
    alarm = alarm_of(tmp_path, policy_of(one), Served(one.reader, "a"), Served(other.reader, "b"))
    assert alarm.verdict.contradiction is Contradiction.OTHER_HISTORY
    assert "given by a and b" in str(alarm)
    assert not (tmp_path / "checkpoint").exists()


def test_a_smaller_log_that_is_signed_after_the_larger_one_is_a_rollback(node: MemoryNode, tmp_path: Path) -> None:
    policy, smaller = policy_of(node), node.chain.log_size
    grow(node, 4)
    step(tmp_path, policy, Served(node.reader))
    node.now += 5_000
    alarm = alarm_of(tmp_path, policy, Served(node.reader, "restored", note=node.checkpoint_at(smaller)))
    assert alarm.verdict.contradiction is Contradiction.ROLLBACK
    assert len(alarm.verdict.accused) == 3


def test_an_alarm_is_kept_once_and_the_mirror_goes_on_with_who_is_honest(node: MemoryNode, tmp_path: Path) -> None:
    policy = policy_of(node)
    step(tmp_path, policy, Served(node.reader))
    other = chain(5, 3, first=7)
    first = alarm_of(tmp_path, policy, Served(other.reader, "liar"))
    assert alarm_of(tmp_path, policy, Served(other.reader, "liar")).path == first.path
    assert len(list((tmp_path / "forks").iterdir())) == 1
    grow(node, 2)
    assert step(tmp_path, policy, Served(node.reader)).new_leaves == 3


# -- lies

FLIP: Lie = lambda data: None if data is None else bytes([data[0] ^ 1]) + data[1:]  # noqa: E731
LAST: Lie = lambda data: None if data is None else data[:-1] + bytes([data[-1] ^ 1])  # noqa: E731
CUT: Lie = lambda data: None if data is None else data[:-1]  # noqa: E731
LONGER: Lie = lambda data: None if data is None else data + b"\0"  # noqa: E731
EMPTY: Lie = lambda data: b""  # noqa: E731
HUGE: Lie = lambda data: b"\0" * (17 << 20)  # noqa: E731
GONE: Lie = lambda data: None  # noqa: E731
ZEROES: Lie = lambda data: None if data is None else bytes(len(data))  # noqa: E731
LIES: dict[str, Lie] = {
    "flipped": FLIP,
    "flipped at its end": LAST,
    "cut": CUT,
    "longer": LONGER,
    "empty": EMPTY,
    "huge": HUGE,
    "zeroes": ZEROES,
}
PLACES = ["checkpoint", "tile/0/000", "tile/0/001", "tile/0/002.p", "tile/1/", "tile/entries/000", "tile/entries/002.p"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("lie", LIES)
def test_whatever_is_changed_is_refused_by_name_and_nothing_good_is_lost(
    long: MemoryNode, tmp_path: Path, place: str, lie: str
) -> None:
    node = chain(9)
    policy = policy_of(node)
    step(tmp_path, policy, Served(node.reader))
    before = snapshot(tmp_path)
    grow(node, 300, 300)
    liar = Served(node.reader, "liar", lies={place: LIES[lie]})
    found = step(tmp_path, policy, liar)
    assert set(found.refused) == {"liar"}
    step_named = found.refused["liar"].where or ""
    joint = place.startswith(("tile/0/002", "tile/1/"))  # partial tiles are verified together
    assert place in step_named or (joint and "tile/" in step_named), step_named
    after = snapshot(tmp_path)
    assert {path: after[path] for path in before} == before
    assert (tmp_path / "checkpoint").read_bytes() == before["checkpoint"]
    check(tmp_path, policy)
    # What was verified before the lie was met is not fetched twice, and an honest source completes it.
    assert step(tmp_path, policy, Served(node.reader)).new_leaves == node.chain.log_size - 11
    check(tmp_path, policy)


@pytest.mark.parametrize("place", PLACES[1:])
@pytest.mark.parametrize("lie", ["flipped", "huge"])
def test_an_honest_source_makes_up_for_a_lying_one(tmp_path: Path, place: str, lie: str) -> None:
    node = chain(300, 300)
    found = step(
        tmp_path,
        policy_of(node),
        Served(node.reader, "liar", lies={place: LIES[lie]}),
        Served(node.reader, "honest"),
    )
    assert set(found.refused) == {"liar"}
    assert found.new_leaves == node.chain.log_size
    check(tmp_path, policy_of(node))


def test_a_checkpoint_of_fewer_or_other_signers_or_of_another_chain_is_refused(
    node: MemoryNode, tmp_path: Path
) -> None:
    policy, note = policy_of(node), node.checkpoint()
    lines = note.splitlines(keepends=True)
    text, signatures = "".join(lines[:4]), lines[4:]
    wrong = {
        "no cosigner": text + signatures[0],
        "one too few": text + "".join(signatures[:3]),
        "one twice": text + "".join([*signatures[:3], signatures[1]]),
        "no log": text + "".join(signatures[1:]),
        "another size": note.replace(f"\n{node.chain.log_size}\n", f"\n{node.chain.log_size + 1}\n", 1),
        "another chain": note.replace(node.chain.chain_id.hex()[:8], "0" * 8, 1),
        "no note": "hello",
    }
    for forged in wrong.values():
        found = step(tmp_path, policy, Served(node.reader, "liar", note=forged))
        assert "checkpoint" in str(found.refused["liar"])
        assert found.seen is None
    assert not (tmp_path / "checkpoint").exists()


def test_tiles_that_are_held_back_are_no_lie_but_nothing_is_taken(node: MemoryNode, tmp_path: Path) -> None:
    with pytest.raises(TileMissing, match="tile/0/000"):
        step(tmp_path, policy_of(node), Served(node.reader, "silent", lies={"tile/0": GONE}))
    assert not (tmp_path / "checkpoint").exists()


def test_a_partial_tile_that_is_gone_is_cut_from_the_full_one(tmp_path: Path) -> None:
    node = chain(100)
    older, size = node.checkpoint(), node.chain.log_size
    grow(node, 300)
    source = Served(node.reader, note=older, lies={f"tile/0/000.p/{size}": GONE, f"tile/entries/000.p/{size}": GONE})
    assert step(tmp_path, policy_of(node), source).new_leaves == size
    check(tmp_path, policy_of(node))


@pytest.mark.parametrize("error", [Unreachable("gone"), TimedOut("stalls")])
@pytest.mark.parametrize("place", ["checkpoint", "tile/0/000", "tile/entries/001"])
def test_who_does_not_answer_is_not_asked_again_in_the_round_and_others_are(
    tmp_path: Path, error: Exception, place: str
) -> None:
    node = chain(300, 300)
    policy = policy_of(node)
    stalling = Served(node.reader, "stalling", lies={place: lambda data: error})
    found = step(tmp_path, policy, stalling)
    assert set(found.failed) == {"stalling"}
    assert (found.seen, sum(path.startswith(place) for path in stalling.asked)) == (None, 1)
    assert step(tmp_path, policy, stalling, Served(node.reader, "honest")).new_leaves == node.chain.log_size


# -- interruptions and damage


class Interrupted(BaseException):
    """What ends a process at any point, as far as its files can tell."""


def interrupting(patch: pytest.MonkeyPatch, after: int) -> None:
    """Interrupt the mirror at number `after` of all its renames, syncs and removals."""
    count = 0

    def counted(real: Callable[..., None]) -> Callable[..., None]:
        def call(*given: object, **named: object) -> None:
            nonlocal count
            count += 1
            if count == after:
                raise Interrupted
            real(*given, **named)

        return call

    for module, name in ((os, "replace"), (os, "fsync"), (shutil, "rmtree")):
        patch.setattr(module, name, counted(getattr(module, name)))


def test_interrupted_at_any_point_it_is_a_whole_mirror_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = chain(9)
    policy, source = policy_of(node), Served(node.reader)
    step(tmp_path / "good", policy, source)
    small = node.chain.log_size
    grow(node, 300, 300)
    shutil.copytree(tmp_path / "good", tmp_path / "whole")
    step(tmp_path / "whole", policy, source)
    whole = snapshot(tmp_path / "whole")
    interruptions = 0
    while True:
        directory = tmp_path / str(interruptions)
        shutil.copytree(tmp_path / "good", directory)
        with monkeypatch.context() as patch:
            interrupting(patch, interruptions + 1)
            try:
                step(directory, policy, source)
                break
            except Interrupted:
                interruptions += 1
        stands_at = int((directory / "checkpoint").read_text().splitlines()[1])
        assert stands_at in (small, node.chain.log_size)
        assert check(directory, policy).seen is not None
        step(directory, policy, source)
        assert snapshot(directory) == whole
    assert interruptions >= 25


def test_a_damaged_tile_is_found_by_the_check_and_mended_where_it_is_needed(tmp_path: Path) -> None:
    node = chain(300, 300)
    policy, source = policy_of(node), Served(node.reader)
    step(tmp_path, policy, source)
    for path in ("tile/0/000", "tile/0/001", "tile/1/000.p/2", "tile/entries/001"):
        whole = (tmp_path / path).read_bytes()
        for damaged in (whole[:-1], whole[:50] + bytes([whole[50] ^ 4]) + whole[51:], b""):
            (tmp_path / path).write_bytes(damaged)
            with pytest.raises((ProofError, TileMissing), match="tile/"):
                check(tmp_path, policy)
        (tmp_path / path).unlink()
        with pytest.raises(TileMissing, match=path):
            check(tmp_path, policy)
        (tmp_path / path).write_bytes(whole)
    check(tmp_path, policy)
    # A power cut may leave tiles that were not synced: beyond the checkpoint nothing is believed.
    grow(node, 300)
    torn = tmp_path / "tile/0/002"
    torn.write_bytes(bytes(8192))
    step(tmp_path, policy, source)
    assert torn.read_bytes() == node.reader.tile(0, 2)
    check(tmp_path, policy)


def test_a_changed_checkpoint_or_policy_of_the_mirror_itself_is_refused(node: MemoryNode, tmp_path: Path) -> None:
    policy, source = policy_of(node), Served(node.reader)
    step(tmp_path, policy, source)
    note = (tmp_path / "checkpoint").read_text()
    (tmp_path / "checkpoint").write_text(note.replace("\n10\n", "\n11\n") if "\n10\n" in note else note[:-9] + "\n")
    with pytest.raises(InputError, match="start a new one"):
        step(tmp_path, policy, source)
    (tmp_path / "checkpoint").write_text(note)
    step(tmp_path, policy, source)


def test_two_processes_do_not_write_one_mirror(node: MemoryNode, tmp_path: Path) -> None:
    with opened(tmp_path, policy_of(node)), pytest.raises(Exception, match="mirror already in use"):
        step(tmp_path, policy_of(node))


def test_what_a_crash_left_is_tidied(node: MemoryNode, tmp_path: Path) -> None:
    policy = policy_of(node)
    step(tmp_path, policy, Served(node.reader))
    whole = snapshot(tmp_path)
    for name in ("tile/0/.000.new", ".checkpoint.77.new", "tile/entries/.x.new"):
        (tmp_path / name).write_bytes(b"half")
    step(tmp_path, policy, Served(node.reader))
    assert snapshot(tmp_path) == whole


def test_a_disk_that_refuses_is_told_of_and_leaves_the_mirror(
    node: MemoryNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = policy_of(node)
    step(tmp_path, policy, Served(node.reader))
    before = snapshot(tmp_path)
    grow(node, 3)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(StorageError, match="No space left"):
            step(tmp_path, policy, Served(node.reader))
    assert (tmp_path / "checkpoint").read_bytes() == before["checkpoint"]
    assert step(tmp_path, policy, Served(node.reader)).new_leaves == 4


def test_the_reader_of_the_store_and_the_mirror_agree_at_every_size(tmp_path: Path) -> None:
    node = chain(1)
    policy, source = policy_of(node), Served(node.reader)
    reader: LedgerReader = node.reader
    for _ in range(12):
        grow(node, 43)
        step(tmp_path, policy, source)
        size = node.chain.log_size
        assert root_of([leaf_hash(leaf) for leaf in leaves_of(tmp_path, size)]) == reader.log_root(size)
