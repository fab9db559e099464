"""`chainnode payment request-disclosure`, `disclose`, `refuse-disclosure`, `open`: private values, shown to one asker.

`open` asks no node: it reads the package, the key and the policy, and computes.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chainnode.cli.context import event_id_of, settings
from chainnode.cli.output import printable, records, say, show, show_verdict
from chainnode.cli.payment_names import statement_ids
from chainnode.cli.proofs import COVERED_WITHIN_S, fetch_receipt, policy_text
from chainnode.cli.reporting import reporter_files
from chainnode.cli.submit import member_of_settings, open_door, send_all, timeout_option, wait_option
from ledger.disclosure_bodies import LegalBasis, PrivateFieldName, Refusal
from primitives.errors import InputError, UsageError

if TYPE_CHECKING:
    from chainnode.disclosing import OpenedPackage
    from primitives.encoding import Record

DAY_MS = 86_400_000
DISCLOSURE_COLUMNS = ("until", "requester", "reporter", "fields", "payload", "answer", "id")
FIELDS = tuple(name.value for name in PrivateFieldName)
DOCUMENT_BYTES_MAX = 64 * 1024 * 1024

fields_option = click.option(
    "--field", "fields", multiple=True, type=click.Choice(FIELDS), help="A private field; repeatable."
)
payload_option = click.option("--payload", is_flag=True, help="All that is kept of the payments, every field with it.")
events_argument = click.argument("events", nargs=-1, metavar="EVENT...")


@click.command("request-disclosure")
@events_argument
@click.option("--reporter", help="The member asked; EVENTs may then be payments too, by UETR or pair key.")
@fields_option
@payload_option
@click.option("--basis", required=True, type=click.Choice([each.value for each in LegalBasis]), help="On what you ask.")
@click.option(
    "--document", required=True, type=click.Path(path_type=Path), help="What the basis says; its SHA-256 is recorded."
)
@click.option("--days", type=click.IntRange(1, 366), default=30, show_default=True, help="How long it may be answered.")
@click.option(
    "--key",
    "key_file",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Your X25519 key, which the answer is sealed to; made (mode 0600) where there is none.",
)
@wait_option
@timeout_option
def request_disclosure(
    events: tuple[str, ...],
    reporter: str | None,
    fields: tuple[str, ...],
    payload: bool,
    basis: str,
    document: Path,
    days: int,
    key_file: Path,
    wait: str,
    timeout_s: float,
) -> int:
    """Ask the member that stated EVENTs for private fields of them: the request and its basis go on the chain."""
    from hashlib import sha256

    from chainnode.files import read_file
    from chainnode.ingest.agreement import public_of
    from ledger.disclosure_bodies import REQUEST_DISCLOSURE, RequestDisclosure, check_request

    client = settings().client(timeout_s=timeout_s, token=True)
    ids = sorted(
        {event_id_of(event) for event in events} if reporter is None else statement_ids(client, events, reporter)
    )
    reporters = {client.call("ledger_getEvent", event_id=event)["event"]["member"] for event in ids}
    if len(reporters) != 1 or reporter not in (None, *reporters):
        expected = "one" if reporter is None else reporter
        raise UsageError("events of one member", expected=expected, got=", ".join(sorted(reporters)) or "no event")
    body = RequestDisclosure(
        reporter=reporters.pop(),
        events=tuple(bytes.fromhex(event) for event in ids),
        fields=_fields(fields, payload=payload),
        payload=payload,
        basis=LegalBasis(basis),
        document=sha256(read_file(document, size_max=DOCUMENT_BYTES_MAX)).digest(),
        until_ms=time.time_ns() // 1_000_000 + days * DAY_MS,
        key=public_of(_secret_key(key_file)),
    )
    check_request(body)
    return _send(REQUEST_DISCLOSURE, body, "request", wait=wait, timeout_s=timeout_s)


@click.command()
@events_argument
@fields_option
@payload_option
@click.option("--request", "request_id", metavar="ID", help="The request that this answers; an answer is recorded.")
@click.option("--to", "to_key", metavar="KEY", help="Without a request: the X25519 public key to seal to.")
@click.option("-f", "--file", "target", required=True, type=click.Path(path_type=Path), help="Write the package here.")
@click.option("--from-epoch", type=click.IntRange(0), default=0, show_default=True, help="The epoch of their policy.")
@wait_option
@timeout_option
def disclose(
    events: tuple[str, ...],
    fields: tuple[str, ...],
    payload: bool,
    request_id: str | None,
    to_key: str | None,
    target: Path,
    from_epoch: int,
    wait: str,
    timeout_s: float,
) -> int:
    """Open --field of EVENTs to who asked, in a package sealed to the key of the request; nothing else goes in.

    Unless told, the events are all of the request's. The answer on the chain names the fields and the package's
    SHA-256.
    """
    from hashlib import sha256

    from chainnode.disclosing import Granted, seal_package
    from chainnode.files import write_file
    from chainnode.private_store import PrivateStore
    from ledger.disclosure_bodies import ANSWER_DISCLOSURE, AnswerDisclosure

    if (request_id is None) is (to_key is None):
        raise UsageError("to whom?", expected="--request or --to", got="both" if request_id else "neither")
    names = _fields(fields, payload=payload)
    asked = None if request_id is None else _asked(event_id_of(request_id))
    ids = [event_id_of(event) for event in events] or ([] if asked is None else asked["events"])
    if not ids or not names:
        raise UsageError("nothing to disclose", expected="events and --field", got=f"{len(ids)} events")
    if asked is not None:
        _check_asked(asked, ids, names, payload=payload)
    with PrivateStore(reporter_files().private) as store:  # what is not kept is refused before anything is fetched
        kept = [store.content(bytes.fromhex(event)) for event in ids]
    receipts = [fetch_receipt(event, COVERED_WITHIN_S, from_epoch) for event in ids]
    package = seal_package(
        [Granted(receipt, content) for receipt, content in zip(receipts, kept, strict=True)],
        names,
        bytes.fromhex(asked["key"] if asked is not None else event_id_of(to_key or "")),
        payload=payload,
        request=b"" if request_id is None else bytes.fromhex(event_id_of(request_id)),
        request_receipt="" if request_id is None else fetch_receipt(request_id, COVERED_WITHIN_S, from_epoch),
    )
    write_file(target, package, mode=0o600)
    digest = sha256(package).digest()
    say(f"package written to {target}, SHA-256 {digest.hex()}")
    if request_id is None:
        show({"file": str(target), "package": digest.hex(), "fields": list(names), "events": ids})
        return 0
    answer = AnswerDisclosure(bytes.fromhex(event_id_of(request_id)), names, payload, digest, None)
    return _send(ANSWER_DISCLOSURE, answer, "answer", wait=wait, timeout_s=timeout_s)


@click.command("refuse-disclosure")
@click.argument("request_id", metavar="REQUEST")
@click.option("--reason", required=True, type=click.Choice([each.value for each in Refusal]), help="Why.")
@wait_option
@timeout_option
def refuse_disclosure(request_id: str, reason: str, wait: str, timeout_s: float) -> int:
    """Answer REQUEST on the chain with a refusal and its reason."""
    from ledger.disclosure_bodies import ANSWER_DISCLOSURE, AnswerDisclosure

    answer = AnswerDisclosure(bytes.fromhex(event_id_of(request_id)), (), False, b"", Refusal(reason))
    return _send(ANSWER_DISCLOSURE, answer, "answer", wait=wait, timeout_s=timeout_s)


@click.command("open")
@click.argument("package", type=click.Path(path_type=Path))
@click.option("--key", "key_file", required=True, type=click.Path(path_type=Path), help="The key that you asked with.")
@click.option("--policy", "policy_file", required=True, type=click.Path(path_type=Path), help="The trusted policy.")
@click.option("--messages", type=click.Path(path_type=Path), help="Write the messages that came with it here.")
def open_(package: Path, key_file: Path, policy_file: Path, messages: Path | None) -> None:
    """Open PACKAGE and verify each value against its event's commitment and receipt, offline.

    Status 3 where a value does not match what its event committed to, or anything else does not hold.
    """
    from chainnode.cli.proofs import refused
    from chainnode.disclosing import PACKAGE_BYTES_MAX, open_package
    from chainnode.files import read_file
    from chainnode.identity import read_hex_secret

    data = read_file(package, size_max=PACKAGE_BYTES_MAX)
    try:
        opened = open_package(data, read_hex_secret(key_file), policy_text(policy_file))
    except InputError as error:
        raise refused(str(package), error, error.hint or "do not rely on it; ask the bank again") from None
    if messages is not None:
        _write_messages(opened, messages)
    _told(opened)


def _told(opened: OpenedPackage) -> None:
    from ledger.times import format_time

    request = None if opened.request is None else opened.request.event_id.hex()
    if settings().machine:
        rows = [
            {
                "event_id": each.verdict.event_id.hex(),
                "member": each.verdict.member,
                "time": format_time(each.verdict.time_ms),
                "values": {name.value: _shown(name, value) for name, value in each.values.items()},
                "has_message": bool(each.message),
            }
            for each in opened.statements
        ]
        show({"verified": True, "request": request, "statements": rows})
        return
    for each in opened.statements:
        show_verdict(f"payment.statement of {each.verdict.member}, {each.verdict.event_id.hex()}")
        for name, value in each.values.items():
            shown = _shown(name, value)
            click.echo(f"  {name.value}: {'(the message carried none)' if shown is None else printable(shown)}")


def _shown(name: PrivateFieldName, value: bytes | None) -> str | None:
    if value is None:
        return None
    return value.hex() if name is PrivateFieldName.SOURCE else value.decode("utf-8", "replace")


def _write_messages(opened: OpenedPackage, folder: Path) -> None:
    from chainnode.files import make_private_directory, write_file

    make_private_directory(folder)
    for each in opened.statements:
        if each.message:
            write_file(folder / each.verdict.event_id.hex(), each.message, mode=0o600)


def _asked(request_id: str) -> dict[str, Any]:
    """Return the body of a request; UsageError where the event is none that this member can answer."""
    event = settings().client().call("ledger_getEvent", event_id=request_id)["event"]
    if event["kind"] != "payment.request_disclosure":
        raise UsageError("not a request for disclosure", got=event["kind"])
    body: dict[str, Any] = event["body"]
    if body["reporter"] != member_of_settings():
        raise UsageError("another member is asked", expected=body["reporter"], got=member_of_settings())
    rows = settings().client(token=True).pages("payment_disclosures", "requests", reporter=body["reporter"])
    row = next((each for each in rows if each["id"] == request_id), None)
    # A package whose answer the chain rejects would be a disclosure that nothing records.
    if row is None or row["answer"] is not None:
        got = "none" if row is None else f"answer {row['answer']}"
        raise UsageError("this request is not open", expected="a request without an answer", got=got)
    return body


def _check_asked(asked: dict[str, Any], ids: list[str], names: tuple[PrivateFieldName, ...], *, payload: bool) -> None:
    extra = [event for event in ids if event not in asked["events"]]
    extra += [name.value for name in names if name.value not in asked["fields"]]
    if payload and not asked["payload"]:
        extra.append("the payload")
    if extra:
        raise UsageError("more than was asked for", expected=", ".join(asked["fields"]), got=", ".join(extra))


def _fields(fields: tuple[str, ...], *, payload: bool) -> tuple[PrivateFieldName, ...]:
    """Return fields in the order of the tree, each once; all of them with the payload."""
    return tuple(name for name in PrivateFieldName if payload or name.value in fields)


def _secret_key(path: Path) -> bytes:
    """Return the secret key of a file, made where there is none."""
    import os

    from chainnode.files import write_file
    from chainnode.identity import read_hex_secret

    if not path.exists():
        write_file(path, os.urandom(32).hex().encode() + b"\n", mode=0o600, replace=False)
        say(f"key written to {path}: without it the answer cannot be opened")
    return read_hex_secret(path)


def _send(kind: int, body: Record, what: str, *, wait: str, timeout_s: float) -> int:
    import secrets

    from chainnode.submission import NewEvent
    from primitives.encoding import encode

    client = settings().client(timeout_s=timeout_s, token=True)
    event = NewEvent(kind, 1, encode(body), what, secrets.token_bytes(16))
    with records(None) as out, open_door(client) as door:
        return send_all(client, door, [event], out, wait=wait, timeout_s=timeout_s)


@click.command("disclosures")
@click.option("--reporter", help="Those that this member is to answer. [default: of all]")
@click.option("--requester", help="Those that this member made.")
@click.option("--open", "is_open", is_flag=True, help="Those without an answer alone.")
def disclosures(reporter: str | None, requester: str | None, is_open: bool) -> None:
    """List requests for disclosure: who asked whom for what, until when, and whether it was answered."""
    from chainnode.cli.output import show_rows

    filters: dict[str, Any] = {"reporter": reporter, "requester": requester}
    if is_open:
        filters["answered"] = False
    named = {name: value for name, value in filters.items() if value is not None}
    rows = settings().client().pages("payment_disclosures", "requests", **named)
    shown = [{**row, "fields": ", ".join(row["fields"])} for row in rows]
    show_rows(rows if settings().machine else shown, columns=DISCLOSURE_COLUMNS, wrap="requests")


COMMANDS = (disclosures, request_disclosure, disclose, refuse_disclosure, open_)
