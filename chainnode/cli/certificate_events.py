"""What the commands of a certificate's life share: their options, evidence out of files, and sending one event.

Not here: the commands (`cert`, `certificate_decisions`, `certificate_scheme`).
"""

from __future__ import annotations

import hashlib
import re
import secrets
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chainnode.cli.context import settings
from chainnode.cli.output import records
from chainnode.cli.submit import member_of_settings, open_door, send_all, timeout_option, wait_option
from primitives.errors import InputError, UsageError

if TYPE_CHECKING:
    from chainnode.client import NodeClient
    from ledger.certificate_bodies import Evidence
    from ledger.kinds import KindSpec
    from primitives.encoding import Record

evidence_option = click.option(
    "--evidence",
    "evidence",
    multiple=True,
    metavar="KIND=FILE",
    help="A document, by its kind: its SHA-256 and size are filed, the document stays here. Repeatable.",
)
reason_option = click.option("--reason", required=True, help="A word such as security_flaw; no free text.")
serial_option = click.option("--serial", help="Last part of the new application's id. [default: random]")
scope_option = click.option(
    "--scope", "scope", multiple=True, metavar="TEXT", help="An entry of the scope that is asked for. Repeatable."
)


def sending(command: Any) -> Any:  # Any: click's decorators are untyped
    """Give a command the options of all that sends an event."""
    return wait_option(timeout_option(command))


def finding(command: Any) -> Any:  # Any: click's decorators are untyped
    """Give a command the options of all that says what was found at a product, and of all that sends an event."""
    command = sending(command)
    for option in (
        evidence_option,
        click.option("--correct-by", metavar="TIME", help="By when findings must be corrected, RFC 3339."),
        click.option("--finding", "findings", multiple=True, metavar="WORD", help="What failed, as key_not_renewed."),
        click.option("--grave", is_flag=True, help="So grave that the certificate is suspended at once."),
        click.option("--passed/--failed", default=None, help="What was found."),
    ):
        command = option(command)
    return command


def evidence_of(items: tuple[str, ...], default: str) -> tuple[Evidence, ...]:
    """Return the evidence of options `KIND=FILE` or `FILE`, which is of the default kind."""
    from ledger.catalogue import EvidenceKind
    from ledger.certificate_bodies import Evidence

    member = member_of_settings()
    found = []
    for item in items:
        kind, named, name = item.partition("=")
        if not named:
            kind, name = default, item
        if kind not in set(EvidenceKind):
            raise UsageError("unknown kind of evidence", where=item, expected=" or ".join(EvidenceKind), got=kind)
        digest, size = digest_of(Path(name))
        found.append(Evidence(EvidenceKind(kind), digest, member, size))
    return tuple(found)


def digest_of(path: Path) -> tuple[bytes, int]:
    """Return a document's SHA-256 and size in bytes. Raises `InputError` where it cannot be read or is empty."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        size = path.stat().st_size
    except OSError as error:
        raise InputError("document cannot be read", where=str(path), got=error.strerror or error) from None
    if not size:
        raise InputError("document is empty", where=str(path))
    return digest, size


def time_of(text: str | None, name: str) -> int | None:
    """Return the time of an option in milliseconds, None for none."""
    from ledger.times import parse_time

    return None if text is None else int(parse_time(text, where=name))


def new_serial() -> str:
    """Return the last part of an application's id that nobody chose."""
    return secrets.token_hex(4).upper()


def checked_holder_id(holder_id: str | None, scope: tuple[str, ...], client: NodeClient) -> str:
    """Return the holder's id of an application with a scope. Raises `UsageError` where the chain would not take it."""
    from chainnode.decisions import rules_of
    from ledger.holder_ids import is_holder_id
    from ledger.rules import RULES_SCHEME

    if holder_id is None or not scope:
        raise UsageError("an application with a scope names its holder's id", expected="--holder-id and --scope")
    if not is_holder_id(holder_id):
        raise UsageError(
            "not a holder's id",
            expected="a USCC of 18 characters or an LEI of 20, with right check digits",
            got=holder_id,
        )
    rules = rules_of(client)
    if rules < RULES_SCHEME:
        raise UsageError(
            "the chain's rules have no holder ids and scopes yet", expected=f"rules {RULES_SCHEME}", got=rules
        )
    return holder_id


def client_of(timeout_s: float) -> NodeClient:
    """Return the client by which an event is asked about and sent."""
    return settings().client(timeout_s=timeout_s, token=True)


def _field_of(body: Record, said: str) -> str | None:
    """Return the name of the field whose place the decoder named, such as $[2]; None where it named none."""
    place = re.search(r"\$\[([0-9]{1,3})\]", said)
    names = body.__struct_fields__
    return names[int(place[1])] if place is not None and int(place[1]) < len(names) else None


def send(body: Record, what: str, wait: str, timeout_s: float, client: NodeClient | None = None) -> int:
    """Submit one event, by the kind and schema that its body is of; status 1 unless it was applied."""
    from chainnode.submission import NewEvent
    from primitives.encoding import decode, encode
    from primitives.errors import EncodingError

    spec, schema = _kind_of()[type(body)]
    if spec.check_shape is not None:
        spec.check_shape(body)
    data = encode(body)
    try:
        decode(type(body), data, size_max=len(data))
    except EncodingError as error:
        raise UsageError(f"{what} cannot be sent so", where=_field_of(body, str(error.got)), got=error.got) from None
    client = client or client_of(timeout_s)
    # Chosen here, so that a call that is sent twice is one event.
    event = NewEvent(spec.kind, schema, data, what, reference=secrets.token_bytes(16))
    with records(None) as out, open_door(client) as door:
        return send_all(client, door, [event], out, wait=wait, timeout_s=timeout_s)


@cache
def _kind_of() -> dict[type[Record], tuple[KindSpec, int]]:
    """Return kind and schema by the type of body; one type is a body of one kind."""
    from ledger.registry import KINDS

    return {type_: (spec, schema) for spec in KINDS.values() for schema, type_ in spec.schemas.items()}
