"""The sample certificates: every line is an event, all are admitted in order, and they end as the README says."""

from __future__ import annotations

import json
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import pytest

from ledger.catalogue import CATALOGUE_1
from ledger.certificate_bodies import Body
from ledger.certificate_records import Application, Certificate, State, Status, read_certificate, status_at
from ledger.event_json import event_from_json
from ledger.events import Event
from ledger.registry import KINDS
from primitives.encoding import decode
from tests.ledger.certificate_fixtures import Consortium

FOLDER = Path(__file__).resolve().parents[2] / "samples" / "certificates"
FILES = sorted(FOLDER.glob("*.jsonl"))
KEYS = {
    "bank-a-bank": "bank-a",
    "bank-b-bank": "bank-b",
    "bank-c-bank": "bank-c",
    "bank-d-bank": "bank-d",
    "cb-reviewer": "cb",
    "cb-decider": "cb",
    "lab-laboratory": "lab",
    "ins-inspector": "ins",
    "regulator-regulator": "regulator",
}


def key_of(file: Path) -> str:
    """Return the name of the key that submits a file: its name without the number in front."""
    return file.stem[3:]


def lines_of(file: Path) -> list[dict[str, Any]]:  # Any: JSON values
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def event_of(file: Path, line: dict[str, Any]) -> tuple[Event, Body]:  # Any: JSON values
    event = event_from_json(line, member=KEYS[key_of(file)], expires_ms=1)
    body_type = KINDS[event.kind].schemas[event.schema]
    return event, cast(Body, decode(body_type, event.body, size_max=65_535))


@pytest.fixture(scope="module")
def lived() -> Consortium:
    """Return the consortium after all samples, each event a second after the one before."""
    consortium = Consortium()
    for file in FILES:
        for number, line in enumerate(lines_of(file), start=1):
            consortium.now_ms += 1_000
            _, body = event_of(file, line)
            rule = consortium.submit(KEYS[key_of(file)], body, key_of(file))
            assert rule == "", f"{file.name}:{number} broke {rule}"
    return consortium


def test_there_are_samples() -> None:
    assert len(FILES) == 17
    assert [int(file.name[:2]) for file in FILES] == list(range(1, 18))


def test_every_category_of_the_first_catalogue_has_a_certificate(lived: Consortium) -> None:
    certificates = [certificate for _, certificate in lived.view.scan("certificate/", Certificate)]
    assert {c.category for c in certificates} == {category.number for category in CATALOGUE_1.categories}


def test_the_lives_end_as_they_are_told(lived: Consortium) -> None:
    certificates = [certificate for _, certificate in lived.view.scan("certificate/", Certificate)]
    statuses = Counter(status_at(certificate, lived.now_ms).status for certificate in certificates)
    assert statuses == {Status.VALID: 13, Status.SUSPENDED: 1, Status.REVOKED: 1, Status.CANCELLED: 1}
    states = Counter(application.state for _, application in lived.view.scan("application/", Application))
    assert states == {State.GRANTED: 16, State.REFUSED: 1}
    old, new = (read_certificate(lived.view, f"FTP-2026-11-00000{i}") for i in (1, 2))
    assert old is not None
    assert new is not None
    assert (old.successor, new.predecessor) == (new.number, old.number)
    restored = read_certificate(lived.view, "FTP-2026-05-000001")
    assert restored is not None
    assert restored.corrections


def test_every_terminal_that_the_sample_payments_name_is_certified(lived: Consortium) -> None:
    named: set[str] = set()
    for file in sorted((FOLDER.parent / "payments").glob("*.jsonl")):
        for line in lines_of(file):
            number = line.get("terminal_certificate") or line.get("payment", {}).get("terminal_certificate")
            named |= {number} if number else set()
    assert named
    for number in named:
        certificate = read_certificate(lived.view, number)
        assert certificate is not None, number
        assert status_at(certificate, lived.now_ms).valid


def test_references_follow_from_the_line_so_that_a_second_run_is_a_duplicate() -> None:
    for file in FILES:
        for number, line in enumerate(lines_of(file), start=1):
            text = f"samples/certificates/{file.name}:{number}"
            assert line["reference"] == sha256(text.encode()).hexdigest()[:32]


def test_digests_are_those_of_the_documents_that_the_readme_describes() -> None:
    for file in FILES:
        for line in lines_of(file):
            body = line["body"]
            about = body.get("application") or body["number"]
            for piece in body.get("evidence", []):
                document = f"Sample document: {piece['kind']} of {about}".encode()
                assert piece["digest"] == sha256(document).hexdigest()
                assert piece["size_bytes"] == len(document)
