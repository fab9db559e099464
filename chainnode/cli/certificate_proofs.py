"""What proofs about certificates prove, in the words that a person needs: a status at a time, a whole history.

Here: fetching histories page by page, and rows and sentences for `verify`. Not here: the proofs themselves
(`ledger.status_proofs`, `ledger.certificate_history`), which file holds which kind (`ledger.proof_kinds`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from chainnode.cli.context import settings
from chainnode.cli.output import join, progress, show, show_rows, show_verdict
from chainnode.cli.proofs import demanded
from primitives.errors import InputError, ProofError

if TYPE_CHECKING:
    from ledger.certificate_history import HistoryVerdict
    from ledger.certificate_records import Certificate, CertificateStatus
    from ledger.status_proofs import StatusVerdict

PAGES_MAX = 100_000
PROVED_WITHIN_S = 90.0
"""While nothing happens, cosignatures are renewed each minute: a time after the newest block waits for the next."""
POLL_S = 0.1
CERTIFICATE_PREFIX = "certificate/"
EVENT_COLUMNS = ("time", "kind", "member", "height", "id")


def status_row(text: str, policy: str, number: str | None, moment: str | None) -> dict[str, Any]:
    """Return what a status proof proves; ProofError where it does not, or is not of this certificate and time.

    Without a `moment` it is the block's time, or, where no later block was known, that of the cosignatures.
    """
    from ledger.status_proofs import certificate_status, verify_status
    from ledger.times import format_time, parse_time

    verdict = verify_status(text, policy)
    named = number or _number_of(verdict)
    default_ms = verdict.last_ms if verdict.is_newest else int(verdict.time_ms)
    at_ms = default_ms if moment is None else int(parse_time(moment, where="--at"))
    status = certificate_status(verdict, named, at_ms)
    from_ms, until_ms = _span(verdict, status)
    then = _then(verdict, named, status)
    span = f"proved from {format_time(from_ms)} to {format_time(until_ms)} by block {verdict.height}"
    after = "" if then is None else f", then {then[1].status.value} {then[1].status_zh}"
    return {
        "verified": True,
        "sentence": f"{_said(named, status)} at {format_time(at_ms)}; {span}{after}",
        "number": named,
        **worth(status),
        "time": format_time(at_ms),
        "proved_from": format_time(from_ms),
        "proved_until": format_time(until_ms),
        "then": None if then is None else {"from": format_time(then[0]), "status": then[1].status.value},
        "chain_id": verdict.chain_id.hex(),
        "height": verdict.height,
        "block_time": format_time(verdict.time_ms),
        **_cosigned(verdict),
    }


def _number_of(verdict: StatusVerdict) -> str:
    """Return the number that a proof is of by its key; anything at all can be proved to be absent."""
    from ledger.certificate_bodies import NUMBER_PATTERN

    key = verdict.key.decode(errors="replace")
    number = key.removeprefix(CERTIFICATE_PREFIX)
    if not key.startswith(CERTIFICATE_PREFIX) or re.search(NUMBER_PATTERN, number) is None:
        raise ProofError("status proof of another thing than a certificate", expected=f"{CERTIFICATE_PREFIX}…", got=key)
    return number


def _said(number: str, status: CertificateStatus | None) -> str:
    if status is None:
        return f"there was no certificate {number}"
    return f"certificate {number} was {status.status.value} {status.status_zh}"


def worth(status: CertificateStatus | None) -> dict[str, Any]:
    """Return a status, or that there is none, as fields of a row."""
    from ledger.times import format_time

    return {
        "exists": status is not None,
        "status": None if status is None else status.status.value,
        "status_zh": None if status is None else status.status_zh,
        "valid": status is not None and status.valid,
        "since": None if status is None or status.since_ms is None else format_time(status.since_ms),
        "revocation_due": status is not None and status.revocation_due,
    }


def _span(verdict: StatusVerdict, status: CertificateStatus | None) -> tuple[int, int]:
    """Return the first and the last time of those that the proof covers at which the status is the same."""
    first, last = int(verdict.time_ms), verdict.last_ms
    if status is not None and status.since_ms is not None:
        first = max(first, status.since_ms)
    if status is not None and status.until_ms is not None:
        last = min(last, status.until_ms - 1)
    return first, last


def _then(
    verdict: StatusVerdict, number: str, status: CertificateStatus | None
) -> tuple[int, CertificateStatus] | None:
    """Return when the status changes by itself within what is proved, and what it is from then on."""
    from ledger.status_proofs import certificate_status

    if status is None or status.until_ms is None or not verdict.covers(status.until_ms):
        return None
    after = certificate_status(verdict, number, status.until_ms)
    return None if after is None else (status.until_ms, after)


def _cosigned(verdict: StatusVerdict) -> dict[str, Any]:
    return {
        "cosigners": list(verdict.cosigners),
        "cosigned": {"by": len(verdict.cosigners), "of": verdict.witnesses, "epoch": verdict.epoch},
    }


# --- fetching


def proved_status(params: dict[str, Any], timeout_s: float) -> dict[str, Any]:
    """Return a status with its proof, there once a checkpoint covers it; `TimedOut` where none does in time."""
    from chainnode.client import UNAVAILABLE, CallRefused, TimedOut

    client = settings().client()
    end = time.monotonic() + timeout_s
    while True:
        try:
            found: dict[str, Any] = client.call("cert_getStatus", **params)
            if isinstance(found.get("proof"), str):
                return found
        except CallRefused as refused:
            if refused.code != UNAVAILABLE or time.monotonic() >= end:
                raise
        if time.monotonic() >= end:
            raise TimedOut(
                "no status proof yet",
                where=params["number"],
                expected=f"a checkpoint that covers it within {timeout_s:g} s",
                got="none",
                hint="ask again, or use `chainnode prove` for the certificate's events",
            )
        time.sleep(POLL_S)


# --- histories


def history_pages(number: str, at: int | str, from_epoch: int, witnesses: Sequence[str] = ()) -> Iterator[str]:
    """Yield the pages of a certificate's history; the height of all of them is that of the first answer."""
    client = settings().client()
    first = 0
    with progress(f"history of {number}", None) as bar:
        for _ in range(PAGES_MAX):
            params = {"number": number, "at": at, "first": first, "from_epoch": from_epoch} | demanded(witnesses)
            page = client.call("cert_historyProof", **params)
            yield str(page["proof"])
            if page["next"] is None:
                return
            at, first = page["height"], page["next"]
            bar.advance()
    raise ProofError("more pages than a history may have", expected=f"at most {PAGES_MAX}")


def history_row(text: str, policy: str, number: str | None) -> dict[str, Any]:
    """Return what the pages of a history prove together; ProofError where they do not."""
    from ledger.certificate_history import joined
    from ledger.event_json import body_to_json
    from ledger.registry import KINDS
    from ledger.times import format_time

    verdicts = list(_verified(text, policy, number))
    events, last = joined(verdicts), verdicts[-1].status
    named, record = number or _number_of(last), verdicts[-1].certificate
    status = _status_at(record, last.last_ms)
    until = format_time(last.last_ms)
    sentence = f"there was no certificate {named} at {until}"
    if status is not None:
        whole = f"these {len(events)} events are the whole history of certificate {named} up to {until}"
        sentence = f"{whole}, when it was {status.status.value} {status.status_zh}"
    return {
        "verified": True,
        "sentence": sentence,
        "number": named,
        **worth(status),
        "time": until,
        "events": [
            {
                "id": event.event_id.hex(),
                "kind": KINDS[event.event.kind].name if event.event.kind in KINDS else str(event.event.kind),
                "member": event.event.member,
                "time": format_time(event.time_ms),
                "height": event.height,
                "body": body_to_json(event.event.kind, event.event.schema, event.event.body),
            }
            for event in events
        ],
        "chain_id": last.chain_id.hex(),
        "height": last.height,
        "block_time": format_time(last.time_ms),
        **_cosigned(last),
    }


def _status_at(record: Certificate | None, time_ms: int) -> CertificateStatus | None:
    from ledger.certificate_records import status_at

    return None if record is None else status_at(record, time_ms)


def _verified(text: str, policy: str, number: str | None) -> Iterator[HistoryVerdict]:
    from ledger.certificate_history import verify_certificate_history
    from ledger.proof_kinds import pages_of

    pages = pages_of(text)
    with progress("verifying", len(pages)) as bar:
        for index, page in enumerate(pages, 1):
            try:
                verdict = verify_certificate_history(page, policy, number)
            except InputError as error:
                where = f"page {index}{': ' + error.where if error.where else ''}"
                raise ProofError(error.what, where=where, expected=error.expected, got=error.got) from None
            bar.advance()
            yield verdict


def told(row: Mapping[str, Any]) -> None:
    """Print what a proof about a certificate proves: the sentence, who cosigned it, and the rest as a table."""
    if settings().machine:
        show(row)
        return
    cosigned = row["cosigned"]
    epoch = "" if cosigned["epoch"] is None else f" of epoch {cosigned['epoch']}"
    show_verdict(row["sentence"])
    click.echo(f"cosigned by {cosigned['by']} of {cosigned['of']}{epoch}: {join(row['cosigners'])}")
    hidden = ("verified", "sentence", "cosigned", "cosigners", "events", "then")
    show({name: value for name, value in row.items() if name not in hidden})
    if row.get("events"):
        show_rows(row["events"], columns=EVENT_COLUMNS)
