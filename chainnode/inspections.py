"""Random inspections at a member's desk: the secret behind a commitment, and replaying a draw from a node or a file.

Here: the file of a secret, the exported draw, reading both, and holding a node's draw against receipts of its events.
Not here: the selection (`ledger.inspection_selection`, `ledger.inspection_replay`), commands
(`chainnode.cli.certificate_inspections`).

A secret is written and synced before its commitment is sent, mode 0600, and never printed: who learns it before the
closing can compute with it, and who loses it has to default. The same file serves a commitment that is sent again.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec

from chainnode.client import NodeClient
from chainnode.files import PRIVATE_FILE_MODE, read_file, read_secret, write_file
from ledger.certificate_records import Certificate, State, certificate_key
from ledger.inspection_bodies import (
    SECRET_BYTES,
    AnnounceInspection,
    CommitInspection,
    DrawCategory,
    RevealInspection,
)
from ledger.inspection_records import Closing, Committed, Drawn, Inspection, Phase, inspection_key
from ledger.inspection_replay import Candidate
from ledger.inspection_selection import commitment_of
from ledger.receipts import Verdict, verify
from ledger.registry import KINDS
from ledger.status_proofs import StatusVerdict, verify_status
from ledger.times import parse_time
from primitives.encoding import Record, decode
from primitives.errors import InputError, ProofError
from primitives.ids import EventId, Hash
from rpc.methods.inspections import CandidateResult, InspectionRecord

FORMAT = "chainnode-inspection/1"
EXPORT_BYTES_MAX = 64 * 1024 * 1024
SECRET_FILE_BYTES_MAX = 4_096
CANDIDATES_A_CALL = 100
PAGES_MAX = 20_000
"""Pages of candidates that a node is asked for: two million certificates. One that lies could go on without end."""
ANY_CERTIFICATE = "FTP-2000-01-000001"
"""Asked for where a draw selected nothing: what counts is the header in the proof that there is none."""

Hex32 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class BadDrawFile(InputError):
    """A file holds no exported draw, or none that could have been."""

    reason = "bad_draw_file"


class BadDrawAnswer(InputError):
    """What a node tells of a draw is no draw that there could be."""

    reason = "bad_draw_answer"


class ForeignSecret(InputError):
    """A file holds the secret of another draw, member or chain."""

    reason = "foreign_secret"


class DrawSecret(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A member's secret for one draw; the representation leaves it out."""

    chain_id: Hex32
    draw: str
    member: str
    secret: Annotated[str, msgspec.Meta(pattern=f"^[0-9a-f]{{{2 * SECRET_BYTES}}}$")]

    def __repr__(self) -> str:
        return f"DrawSecret(draw={self.draw!r}, member={self.member!r})"

    @property
    def commitment(self) -> bytes:
        """What the member commits to."""
        return commitment_of(bytes.fromhex(self.chain_id), self.draw, self.member, bytes.fromhex(self.secret))


def secret_for(path: Path, chain_id: str, draw: str, member: str) -> DrawSecret:
    """Return the secret that a file holds for a draw, of a new one after writing it where there is no file yet.

    Raises `ForeignSecret` where the file is of something else, `UnsafeFile` where others can read it.
    """
    if not path.exists():
        made = DrawSecret(chain_id, draw, member, secrets.token_hex(SECRET_BYTES))
        write_file(path, msgspec.json.encode(made) + b"\n", mode=PRIVATE_FILE_MODE, replace=False)
    found = read_draw_secret(path)
    if (found.chain_id, found.draw, found.member) != (chain_id, draw, member):
        raise ForeignSecret(
            "secret of another draw",
            where=str(path),
            expected=f"{draw} of {member}",
            got=f"{found.draw} of {found.member}",
        )
    return found


def read_draw_secret(path: Path) -> DrawSecret:
    """Return the secret in a file that only this user can read; `InputError` where there is none in it."""
    data = read_secret(path, size_max=SECRET_FILE_BYTES_MAX)
    try:
        return msgspec.json.decode(data, type=DrawSecret)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # What is wrong with it is not told: the message would quote it.
        raise InputError("no secret of a draw", where=str(path), expected="the file that `commit` wrote") from None


class DrawFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A draw as exported: all that its selection follows from, and the selection that is recorded."""

    format: str
    chain_id: Hex32
    inspection: InspectionRecord
    candidates: list[CandidateResult]

    @property
    def draw(self) -> Inspection:
        """The draw as the ledger's record."""
        return inspection_of(self.inspection)

    def eligible(self) -> Iterator[Candidate]:
        """Yield the certificates that took part."""
        for item in self.candidates:
            yield Candidate(item.number, item.category, item.risk)


def read_draw_file(path: Path) -> DrawFile:
    """Return an exported draw; `BadDrawFile` where the file holds none."""
    data = read_file(path, size_max=EXPORT_BYTES_MAX)
    try:
        found = msgspec.json.decode(data, type=DrawFile)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadDrawFile("no exported draw", where=str(path), got=error) from None
    if found.format != FORMAT:
        raise BadDrawFile("no exported draw of this version", where=str(path), expected=FORMAT, got=found.format)
    try:
        inspection_of(found.inspection)
        check_risks(found)
    except (ValueError, InputError) as error:
        raise BadDrawFile("an exported draw that none could be", where=str(path), got=error) from None
    return found


def check_risks(found: DrawFile) -> None:
    """Raise `InputError` where a weight or risk lies outside of what the ledger has."""
    for item in found.candidates:
        if not 1 <= item.risk <= 7:
            raise InputError("risk of a certificate", where=item.number, expected="1 to 7", got=item.risk)
    for category in found.inspection.categories:
        if not 1 <= category.weight <= 16:
            raise InputError(
                "weight of a category", where=f"category {category.category}", expected="1 to 16", got=category.weight
            )


def write_draw_file(path: Path, found: DrawFile) -> None:
    """Write an exported draw."""
    write_file(path, msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")


def fetch_draw(client: NodeClient, draw: str, advance: Callable[[int], object] = lambda _: None) -> DrawFile:
    """Return a draw and all that took part, as a node tells of them; `advance` is told of candidates as they come.

    Raises `BadDrawAnswer` for what no draw could be, and for more candidates or pages than there can be.
    """
    chain_id = client.call("ledger_getCapabilities")["chain_id"]
    answer = client.call("cert_getInspection", draw=draw)["inspection"]
    try:
        record = msgspec.convert(answer, InspectionRecord)
        candidates = [] if record.closing is None else _candidates(client, draw, advance)
        found = DrawFile(FORMAT, chain_id, record, candidates)
        inspection_of(record)
        check_risks(found)
    except (ValueError, msgspec.ValidationError, InputError) as error:
        raise BadDrawAnswer("a draw that none could be", where=f"the node's answer on {draw}", got=error) from None
    return found


def _candidates(client: NodeClient, draw: str, advance: Callable[[int], object]) -> list[CandidateResult]:
    """Return all that a node tells of as taking part, page by page; InputError where it does not come to an end."""
    found: list[CandidateResult] = []
    page: dict[str, Any] = {}
    for _ in range(PAGES_MAX):
        answer = client.call("cert_inspectionCandidates", draw=draw, limit=CANDIDATES_A_CALL, **page)
        some = msgspec.convert(answer["candidates"], list[CandidateResult])
        if len(some) > CANDIDATES_A_CALL:
            raise InputError("a page too long", expected=CANDIDATES_A_CALL, got=len(some))
        found += some
        advance(len(some))
        if answer["cursor"] is None:
            return found
        page = {"cursor": answer["cursor"]}
    raise InputError("more certificates than can take part", expected=f"at most {PAGES_MAX} pages", got="another page")


def inspection_of(record: InspectionRecord) -> Inspection:
    """Return a node's answer as the ledger's record. Raises ValueError or `InputError` for what is no hash or time."""
    closing = record.closing
    return Inspection(
        id=record.id,
        member=record.member,
        event_id=EventId(_hash(record.event_id)),
        time_ms=_time(record.time),
        categories=tuple(DrawCategory(item.category, item.weight) for item in record.categories),
        count=record.count,
        commit_until_ms=_time(record.commit_until),
        reveal_ms=record.reveal_ms,
        report_days=record.report_days,
        replaces=record.replaces,
        phase=Phase(record.phase),
        committed=tuple(
            Committed(
                item.member,
                _hash(item.commitment),
                EventId(_hash(item.event_id)),
                None if item.secret is None else _hash(item.secret),
                None if item.revealed_by is None else EventId(_hash(item.revealed_by)),
            )
            for item in record.committed
        ),
        closing=None
        if closing is None
        else Closing(closing.height, _time(closing.time), None if closing.block is None else _hash(closing.block)),
        seed=None if record.seed is None else _hash(record.seed),
        cursor=record.cursor,
        looked_at=record.looked_at,
        eligible=record.eligible,
        weight=record.weight,
        selection=tuple(
            Drawn(item.number, item.category, item.risk, item.weight, bytes.fromhex(item.ticket))
            for item in record.selection
        ),
        drawn_ms=None if record.drawn is None else _time(record.drawn),
        report_until_ms=None if record.report_until is None else _time(record.report_until),
        void=record.void,
        replaced_by=record.replaced_by,
    )


def _hash(text: str) -> Hash:
    data = bytes.fromhex(text)
    if len(data) != 32:
        raise ValueError(f"expected 64 hex digits, got {text!r}")
    return Hash(data)


def _time(text: str) -> int:
    return int(parse_time(text, where="time"))


def prove_inputs(client: NodeClient, policy: str, draw: Inspection, params: dict[str, Any]) -> tuple[int, list[str]]:
    """Return (receipts that hold, differences) of a node's draw and the events that its seed follows from.

    Announcement, commitments and reveals are each proved by a receipt under the policy, and compared with what the node
    says of them; the closing by `prove_closing`. Raises ProofError where a proof does not hold.
    """
    expected: list[tuple[EventId, str, Record]] = [(draw.event_id, draw.member, _announced(draw))]
    for item in draw.committed:
        expected.append((item.event_id, item.member, CommitInspection(draw.id, item.commitment)))
        if item.secret is not None and item.revealed_by is not None:
            expected.append((item.revealed_by, item.member, RevealInspection(draw.id, item.secret)))
    differences: list[str] = []
    for event_id, member, body in expected:
        proof = client.call("ledger_getProof", event_id=event_id.hex(), **params)["receipt"]
        verdict = verify(proof, policy)
        name = f"event {event_id.hex()[:16]}"
        if verdict.event_id != event_id:
            raise ProofError("receipt of another event", expected=event_id.hex(), got=verdict.event_id.hex())
        if not verdict.applied or verdict.member != member:
            differences.append(f"{name} was not applied for {member}")
        elif _said(verdict) != body:
            differences.append(f"{name} says another thing than the record of the draw")
    return len(expected) + 2, differences + prove_closing(client, policy, draw, params)


class NotCovered(ProofError):
    """No stable checkpoint covers a draw's selection yet: a moment later one does, or the node holds it back."""

    reason = "checkpoint_pending"


def prove_record(client: NodeClient, policy: str, draw: Inspection, params: dict[str, Any]) -> list[str]:
    """Return differences of a node's draw and the row of the state that is proved: nothing is left out of it.

    Receipts prove each commitment that a node tells of, and cannot show that there is no other: with one less, another
    seed would be as right. Raises ProofError where the proof does not hold, NotCovered where there is none yet.
    """
    proof = client.call("cert_getInspection", draw=draw.id, prove=True, **params)["proof"]
    if proof is None:
        raise NotCovered("no stable checkpoint covers the draw yet", where=draw.id)
    verdict = verify_status(proof, policy)
    if verdict.key != inspection_key(draw.id).encode():
        raise ProofError("status proof of another row", where=draw.id, got=verdict.key.decode(errors="replace"))
    found = None if verdict.value is None else decode(Inspection, verdict.value, size_max=len(verdict.value))
    if found is None or found.phase is not Phase.DRAWN:
        raise NotCovered("no stable checkpoint covers the selection yet", where=f"{draw.id}, block {verdict.height}")
    return [
        f"{name} of the draw is another in the state than the node says"
        for name in found.__struct_fields__
        if getattr(found, name) != getattr(draw, name)
    ]


def prove_closing(client: NodeClient, policy: str, draw: Inspection, params: dict[str, Any]) -> list[str]:
    """Return differences of the closing and the headers of two blocks: of its own, and of the one before it.

    So it is proved that no earlier block could have closed the draw, and which hash the seed takes. The headers come in
    status proofs, of any certificate. Raises ProofError where a proof does not hold.
    """
    closing = draw.closing
    assert closing is not None
    number = draw.selection[0].number if draw.selection else ANY_CERTIFICATE
    before, closed = (_block(client, policy, number, closing.height - below, params) for below in (1, 0))
    differences = []
    if (closed.header_hash, closed.time_ms) != (closing.block, closing.time_ms):
        differences.append(f"block {closing.height} has another hash or time than the record says")
    if not before.time_ms < draw.commit_until_ms <= closed.time_ms:
        differences.append(f"block {closing.height} is not the first at or after the end of the commitments")
    return differences


def _block(client: NodeClient, policy: str, number: str, height: int, params: dict[str, Any]) -> StatusVerdict:
    """Return what is proved of the block at a height."""
    answer = client.call("cert_getStatus", number=number, at=height, **params)
    if answer["proof"] is None:
        raise ProofError("no stable checkpoint covers the closing yet", where=f"block {height}")
    verdict = verify_status(answer["proof"], policy)
    if verdict.height != height:
        raise ProofError("status proof of another height", expected=height, got=verdict.height)
    return verdict


def prove_selected(client: NodeClient, policy: str, draw: Inspection, params: dict[str, Any]) -> list[str]:
    """Return differences of the selected certificates and what status proofs say of them at the closing.

    That each was active, in its term and of its category is proved; risks, and that no certificate was left out, are
    not: those follow from the whole log. Raises ProofError where a proof does not hold.
    """
    assert draw.closing is not None
    differences: list[str] = []
    for item in draw.selection:
        answer = client.call("cert_getStatus", number=item.number, at=draw.closing.height, **params)
        if answer["proof"] is None:
            raise ProofError("no stable checkpoint covers the closing yet", where=item.number)
        verdict = verify_status(answer["proof"], policy)
        if (verdict.key, verdict.height) != (certificate_key(item.number).encode(), draw.closing.height):
            raise ProofError("status proof of another certificate or height", where=item.number)
        if verdict.value is None:
            differences.append(f"{item.number} did not exist at the closing")
            continue
        found = decode(Certificate, verdict.value, size_max=len(verdict.value))
        in_term = found.valid_from_ms <= draw.closing.time_ms < found.valid_until_ms
        if found.state is not State.ACTIVE or not in_term or found.category != item.category:
            differences.append(f"{item.number} was {found.state} of category {found.category} at the closing")
    return differences


def _announced(draw: Inspection) -> AnnounceInspection:
    return AnnounceInspection(
        draw=draw.id,
        categories=draw.categories,
        count=draw.count,
        commit_until_ms=draw.commit_until_ms,
        reveal_until_ms=draw.commit_until_ms + draw.reveal_ms,
        report_days=draw.report_days,
        replaces=draw.replaces,
    )


def _said(verdict: Verdict) -> Record | None:
    spec = KINDS.get(verdict.event.kind)
    type_ = None if spec is None else spec.schemas.get(verdict.event.schema)
    if type_ is None:
        return None
    found: Record = decode(type_, verdict.event.body, size_max=len(verdict.event.body))
    return found
