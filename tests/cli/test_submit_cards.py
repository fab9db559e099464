"""`submit` of card messages: what is kept of the file has neither PIN nor tracks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from chainnode.cli.submit import _read
from chainnode.ingest.drafts import Draft
from chainnode.ingest.formats import Options
from tests.chainnode.ingest.card_fixtures import PURCHASE, SENSITIVE, message, with_lengths
from tests.chainnode.ingest.ingest_fixtures import context_of, sample


class Kept:
    """Stands for the keeper of what is private."""

    def __init__(self) -> None:
        self.data = b""

    def keep(self, member: str, drafts: Iterable[Draft], data: bytes, partial: set[bytes]) -> list[Draft]:
        self.data = data
        return list(drafts)


def test_the_private_store_is_given_no_pin_and_no_track(tmp_path: Path) -> None:
    path, kept = tmp_path / "cards", Kept()
    path.write_bytes(with_lengths([message({**PURCHASE, **SENSITIVE}, "unionpay")]))
    found = _read(str(path), "auto", context_of("bank-a"), kept, Options())  # type: ignore[arg-type]  # a stand-in
    assert len(found.drafts) == 1
    assert PURCHASE["37"].encode() in kept.data
    assert bytes.fromhex(SENSITIVE["52"]) not in kept.data
    assert all(value.encode() not in kept.data for value in SENSITIVE.values() if len(value) > 6)
    path.write_bytes(sample("qr-bank-a"))
    _read(str(path), "auto", context_of("bank-a"), kept, Options())  # type: ignore[arg-type]  # a stand-in
    assert kept.data == sample("qr-bank-a"), "other files are kept as they are"
