"""Every record of the project, in whatever package, holds only what has one encoding."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import pytest

from primitives.encoding import Record, decoder_of


def records_of(package: str) -> Iterator[type[Record]]:
    """Yield every record class that a module of the package defines or imports."""
    for module_info in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        for value in vars(importlib.import_module(module_info.name)).values():
            if isinstance(value, type) and issubclass(value, Record) and value is not Record:
                yield value


@pytest.mark.parametrize("package", ["primitives", "consensus", "ledger", "p2p", "rpc", "chainnode", "sim"])
def test_every_record_of_a_package_has_one_encoding(package: str) -> None:
    found = set(records_of(package))
    for record in found:
        decoder_of(record)
    assert found or package in ("rpc", "sim")
