"""Documents beside the record: which is which piece, and what is said of one that is none."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import pytest

from chainnode.evidence_check import (
    CHUNK_BYTES,
    Piece,
    Standing,
    check_file,
    check_in_event,
    files_of,
    missing_of,
    piece_of_json,
    piece_of_record,
)
from ledger.catalogue import EvidenceKind
from ledger.certificate_bodies import Evidence, Surveil
from ledger.certificate_records import FiledEvidence
from ledger.events import Event
from ledger.register_bodies import IMPORT, Import
from primitives.encoding import encode
from primitives.errors import ProofError
from primitives.ids import EventId, Hash
from tests.ledger.register_fixtures import REGISTER, row

NUMBER = "FTP-2025-06-000001"
DATA = b"what the inspector saw"
SURVEIL = 13


def piece(data: bytes = DATA, **changes: object) -> Piece:
    plain = {
        "kind": "site_check",
        "digest": sha256(data).hexdigest(),
        "custodian": "cb",
        "size_bytes": len(data),
        "member": "ins",
        "event_id": "00" * 32,
        "time": "2026-01-01T00:00:00Z",
        "passed": True,
    }
    return Piece(**(plain | changes))  # type: ignore[arg-type]  # a test's own values


def written(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_a_document_is_found_by_its_digest_however_long_it_is(tmp_path: Path) -> None:
    data = os.urandom(CHUNK_BYTES * 2 + 17)
    read: list[int] = []
    found = check_file(written(tmp_path, "a", data), [piece(), piece(data)], read.append)
    assert (found.standing, found.pieces, found.size_bytes) == (Standing.MATCHES, (piece(data),), len(data))
    assert read == [CHUNK_BYTES, CHUNK_BYTES, 17]


def test_one_changed_byte_makes_it_another_document_and_its_length_tells_which_it_may_have_been(tmp_path: Path) -> None:
    altered = check_file(written(tmp_path, "a", DATA[:-1] + b"!"), [piece()], lambda _: None)
    assert (altered.standing, altered.pieces) == (Standing.NOT_ON_RECORD, ())
    assert altered.note == "as long as the site_check on record, with other content"
    assert check_file(written(tmp_path, "b", b"other"), [piece()], lambda _: None).note == ""


def test_a_size_that_the_record_has_wrong_is_told(tmp_path: Path) -> None:
    found = check_file(written(tmp_path, "a", DATA), [piece(size_bytes=5)], lambda _: None)
    assert (found.standing, found.note) == (Standing.SIZE_DIFFERS, "the record says 5 bytes")


def test_one_document_may_be_several_pieces(tmp_path: Path) -> None:
    both = [piece(), piece(kind="type_examination")]
    assert check_file(written(tmp_path, "a", DATA), both, lambda _: None).pieces == tuple(both)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    assert check_file(tmp_path / "nothing", [piece()], lambda _: None).standing is Standing.UNREADABLE


def test_a_pipe_or_a_device_is_not_read_for_it_may_never_end(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/null")
    for path in files_of([tmp_path]):
        found = check_file(path, [piece()], lambda _: None)
        assert (found.standing, found.note) == (Standing.UNREADABLE, "not a plain file")


def test_directories_are_walked_in_order_and_links_to_directories_are_not(tmp_path: Path) -> None:
    for name in ("b/2", "b/1", "a/3", "4"):
        written(tmp_path / "d", name, b"x")
    (tmp_path / "d" / "c").symlink_to(tmp_path)
    alone = written(tmp_path, "alone", b"x")
    found = files_of([alone, tmp_path / "d"])
    assert [str(path.relative_to(tmp_path)) for path in found] == ["alone", "d/4", "d/a/3", "d/b/1", "d/b/2"]


def test_what_no_file_was_given_of_is_missing(tmp_path: Path) -> None:
    other = piece(b"other")
    checked = [check_file(written(tmp_path, "a", DATA), [piece(), other], lambda _: None)]
    assert missing_of([piece(), other], checked) == [other]


def test_pieces_of_a_record_and_of_a_node_say_the_same() -> None:
    filed = FiledEvidence(
        EvidenceKind.SITE_CHECK, sha256(DATA).digest(), "cb", len(DATA), "ins", EventId(Hash(bytes(32))), 0, True
    )
    found = piece_of_record(filed)
    assert found == piece(time="1970-01-01T00:00:00Z", proved=True)
    told = {name: getattr(found, name) for name in Piece.__slots__ if name != "proved"}
    assert piece_of_json({**told, "more": 1}) == piece(time="1970-01-01T00:00:00Z")


def surveillance(number: str = NUMBER, member: str = "ins", **changes: object) -> Event:
    evidence = Evidence(EvidenceKind.SITE_CHECK, sha256(DATA).digest(), "cb", len(DATA))
    body = Surveil(number, True, False, (), None, (evidence,))
    return Event(member, bytes(16), 0, SURVEIL, 1, encode(body))


def test_the_event_that_filed_a_document_proves_it() -> None:
    check_in_event(piece(), surveillance(), (NUMBER,))
    imported = row(1)
    event = Event("cb", bytes(16), 0, IMPORT, 1, encode(Import(REGISTER, 0, imported, ())))
    filed = imported.evidence[0]
    own = piece(
        kind=filed.kind.value, digest=filed.digest.hex(), size_bytes=filed.size_bytes, custodian="cb", member="cb"
    )
    check_in_event(own, event, (imported.number,))


@pytest.mark.parametrize(
    ("said", "event"),
    [
        (piece(), surveillance("FTP-2025-06-000002")),
        (piece(), surveillance(member="lab")),
        (piece(b"other"), surveillance()),
        (piece(kind="type_examination"), surveillance()),
        (piece(size_bytes=1), surveillance()),
        (piece(custodian="lab"), surveillance()),
        (piece(), Event("ins", bytes(16), 0, 200, 1, b"")),
    ],
    ids=["another case", "another member", "another document", "another kind", "size", "custodian", "no such kind"],
)
def test_an_event_that_did_not_file_a_document_does_not_prove_it(said: Piece, event: Event) -> None:
    with pytest.raises(ProofError):
        check_in_event(said, event, (NUMBER,))
