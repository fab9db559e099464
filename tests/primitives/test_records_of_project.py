"""Every record of the project, in whatever package, holds only what has one encoding."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import pytest

from primitives.encoding import Record, decoder_of

# A record of each package that has its own, so that a search which finds nothing does not pass.
KNOWN = {
    "primitives": {"BlockHeader", "QuorumCertificate"},
    "consensus": {"Vote", "NewView"},
    "ledger": {"Event", "Certificate", "ExecutionRow"},
    "p2p": {"Hello"},
    "rpc": set(),
    "chainnode": {"BatchIds"},
    "sim": {"Raw"},
}


def records_of(package: str) -> Iterator[type[Record]]:
    """Yield every record class that a module of the package defines."""
    for module_info in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        for value in vars(importlib.import_module(module_info.name)).values():
            if isinstance(value, type) and issubclass(value, Record) and value.__module__ == module_info.name:
                yield value


@pytest.mark.parametrize("package", KNOWN)
def test_every_record_of_a_package_has_one_encoding(package: str) -> None:
    found = {record for record in records_of(package) if record is not Record}
    assert {record.__name__ for record in found} >= KNOWN[package]
    assert bool(found) == bool(KNOWN[package]), "name one of them above"
    for record in found:
        decoder_of(record)


def test_a_record_with_more_than_one_encoding_is_found() -> None:
    class Loose(Record):
        """A map may be encoded in any order."""

        fields: dict[str, int]

    with pytest.raises(TypeError):
        decoder_of(Loose)
