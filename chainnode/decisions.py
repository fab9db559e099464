"""Decisions that two officers sign: what a node says of the case, and the file that goes from one officer to the next.

Here: asking for the case, the prepared file, signing. Not here: the rule (`ledger.scheme_checks`), the commands
(`chainnode.cli.certificate_decisions`). A prepared decision holds no secret; whoever changes it loses its signatures.

    {"chain_id":"<64 hex>","member":"cb","kind":"certificate.grant","body":{…},"upon":{"count":5,"hash":"<64 hex>"},
     "approvals":[{"officer":"<64 hex>","signature":"<128 hex>"}]}
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import msgspec

from chainnode.client import NodeClient
from chainnode.files import read_file, write_file
from chainnode.identity import KeyFile
from chainnode.submission import NewEvent
from ledger.approvals import approve, spec_of, with_approvals
from ledger.certificate_bodies import APPROVALS, Approval, Grant, GrantSigned, Revoke, RevokeSigned, check_body
from ledger.certificate_records import History
from ledger.event_json import record_from_json, record_to_json
from ledger.events import EVENT_SIZE_MAX
from ledger.registry import KINDS, KINDS_BY_NAME
from ledger.scheme_checks import statement_upon
from primitives.encoding import decode, encode
from primitives.errors import InputError, UsageError
from primitives.ids import Hash
from primitives.keys import verify

DECISION_BYTES_MAX = 64 * 1024
KINDS_SIGNED = ("certificate.grant", "certificate.revoke")

Json = dict[str, Any]  # Any: JSON of a node
Hex32 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Hex64 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{128}$")]


class BadDecision(InputError):
    """A file holds no prepared decision, or one whose signatures do not verify."""

    reason = "bad_decision"


class StaleDecision(InputError):
    """Something was decided about the case since a decision was prepared: it must be prepared and signed anew."""

    reason = "stale_decision"


class Upon(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What officers decide upon: how many events made the case what it is, and the hash chain over them.

    Of a certificate only those that decided something count (`ledger.scheme_checks.decided_upon`).
    """

    count: Annotated[int, msgspec.Meta(ge=0)]
    hash: Hex32

    def history(self) -> History:
        """Return it as the statement takes it; when it last changed is not signed."""
        return History(self.count, Hash(bytes.fromhex(self.hash)), 0)


class SignedBy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An officer's signature."""

    officer: Hex32
    signature: Hex64


class Prepared(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A decision on its way through its officers' hands: `body` is that of schema 1, in its JSON form."""

    chain_id: Hex32
    member: str
    kind: str
    body: dict[str, Any]  # Any: JSON, read by `decision`
    upon: Upon
    approvals: tuple[SignedBy, ...] = ()

    @property
    def decision(self) -> Grant | Revoke:
        """What is decided. Raises `InputError` where the body is none of its kind."""
        if self.kind not in KINDS_SIGNED:
            raise BadDecision("not a kind that officers sign", expected=" or ".join(KINDS_SIGNED), got=self.kind)
        body = record_from_json(KINDS_BY_NAME[self.kind].schemas[1], self.body, where="body")
        assert isinstance(body, Grant | Revoke)
        check_body(body)
        return body

    @property
    def subject(self) -> str:
        """The application or certificate that is decided on."""
        body = self.decision
        return body.application if isinstance(body, Grant) else body.number

    @property
    def missing(self) -> int:
        """How many signatures it lacks."""
        return APPROVALS - len(self.approvals)

    def signed(self, key: KeyFile) -> Prepared:
        """Return it with an officer's signature as well. Raises `UsageError` for one that it needs not."""
        if key.member != self.member:
            raise UsageError("officer of another member", expected=self.member, got=key.member)
        if key.public in {row.officer for row in self.approvals}:
            raise UsageError("this officer has signed already", got=key.public[:16], hint="another one has to sign too")
        if not self.missing:
            raise UsageError("enough officers have signed", hint="send it with `chainnode cert decide FILE`")
        made = approve(Hash(bytes.fromhex(self.chain_id)), self.decision, self.upon.history(), key.signing_key)
        row = SignedBy(made.officer.hex(), made.signature.hex())
        return msgspec.structs.replace(self, approvals=(*self.approvals, row))

    def event(self) -> GrantSigned | RevokeSigned:
        """Return the body to submit. Raises `UsageError` where signatures are missing."""
        if self.missing:
            raise UsageError(
                "signatures of officers are missing",
                expected=APPROVALS,
                got=len(self.approvals),
                hint="each officer signs with `chainnode cert approve FILE --officer KEYFILE`",
            )
        rows = [Approval(bytes.fromhex(row.officer), bytes.fromhex(row.signature)) for row in self.approvals]
        return with_approvals(self.decision, rows)


def read_decision(path: Path) -> Prepared:
    """Return a prepared decision; `BadDecision` where it is none, or where a signature in it does not verify."""
    data = read_file(path, size_max=DECISION_BYTES_MAX)
    try:
        found = msgspec.json.decode(data, type=Prepared)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadDecision("not a prepared decision", where=str(path), got=error) from None
    body = found.decision
    if len({row.officer for row in found.approvals}) != len(found.approvals) or found.missing < 0:
        raise BadDecision("an officer stands twice, or too many do", where=str(path), expected=f"up to {APPROVALS}")
    said = statement_upon(Hash(bytes.fromhex(found.chain_id)), spec_of(body).kind, body, found.upon.history())
    for row in found.approvals:
        if not verify(bytes.fromhex(row.officer), said, bytes.fromhex(row.signature)):
            raise BadDecision(
                "a signature does not verify: the decision was changed after it was signed",
                where=str(path),
                got=row.officer[:16],
            )
    return found


def write_decision(path: Path, prepared: Prepared, *, replace: bool) -> None:
    """Write a prepared decision."""
    write_file(path, msgspec.json.format(msgspec.json.encode(prepared), indent=1) + b"\n", replace=replace)


def schema_for(client: NodeClient, body: Grant | Revoke) -> int:
    """Return the schema by which the chain takes a decision now."""
    return spec_of(body).newest_schema(rules_of(client))


def rules_of(client: NodeClient) -> int:
    """Return the version of the rules that the next block follows."""
    return int(client.call("gov_getPolicy")["rules"])


def case_of(client: NodeClient, body: Grant | Revoke) -> tuple[Json, Upon]:
    """Return the record that a decision is about, and upon what: an application's events, a certificate's rulings."""
    if isinstance(body, Grant):
        record: Json = client.call("cert_getApplication", application=body.application)["application"]
        upon = record["history"]
    else:
        found = client.call("cert_get", number=body.number)
        record, upon = found["certificate"], found["scheme"]["rulings"]
    return record, Upon(upon["count"], upon["hash"])


def prepare(client: NodeClient, member: str, body: Grant | Revoke) -> Prepared:
    """Return a decision of a member upon what a node says of the case now, without signatures."""
    _, upon = case_of(client, body)
    chain_id = client.call("ledger_getCapabilities")["chain_id"]
    return Prepared(chain_id, member, spec_of(body).name, record_to_json(body), upon)


def signed_event(client: NodeClient, member: str, event: NewEvent, officers: Sequence[KeyFile]) -> NewEvent:
    """Return an event as its officers sign it: a decision of schema 1 as schema 2 upon the case as it is now.

    What is no decision, is signed already, or is for a chain of earlier rules comes back as it is.
    """
    if KINDS[event.kind].name not in KINDS_SIGNED or event.schema != 1:
        return event
    body = decode(KINDS[event.kind].schemas[1], event.body, size_max=EVENT_SIZE_MAX)
    assert isinstance(body, Grant | Revoke)
    schema = schema_for(client, body)
    if schema == 1:
        return event
    prepared = prepare(client, member, body)
    for key in officers:
        prepared = prepared.signed(key)
    return replace(event, schema=schema, body=encode(prepared.event()))


def check_case(client: NodeClient, prepared: Prepared) -> Json:
    """Return the case of a prepared decision as a node has it now.

    Raises `UsageError` where the node is of another chain, `StaleDecision` where the case is no longer what it was.
    """
    chain_id = client.call("ledger_getCapabilities")["chain_id"]
    if chain_id != prepared.chain_id:
        raise UsageError("decision for another chain", expected=chain_id, got=prepared.chain_id)
    case, upon = case_of(client, prepared.decision)
    if upon != prepared.upon:
        raise StaleDecision(
            "the case has changed since this was prepared",
            where=prepared.subject,
            expected=f"{prepared.upon.count} events",
            got=f"{upon.count} events",
            hint="prepare it again, and let both officers sign that",
        )
    return case
