"""`cert bundle` and `cert status --offline`: a certificate's status for a terminal that has no connection.

The bundle is a status proof as `cert status --proof` writes it. Not here: what it proves (`chainnode.interop.stapled`).
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from chainnode.cli.certificate_proofs import PROVED_WITHIN_S, proved_status, worth
from chainnode.cli.context import settings
from chainnode.cli.output import join, say, show, show_verdict
from chainnode.cli.proofs import demanded, file_text, policy_text, refused, witness_option
from primitives.errors import InputError, UsageError

if TYPE_CHECKING:
    from chainnode.interop.stapled import StapledStatus
    from ledger.certificate_records import CertificateStatus

FRESH = "24h"
_SPAN = re.compile(r"([0-9]{1,6})(s|m|h|d)")
_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

timeout_option = click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0, 3600),
    default=PROVED_WITHIN_S,
    show_default=True,
    help="Seconds to wait for a checkpoint that proves it.",
)
policy_option = click.option(
    "--policy", "policy_file", type=click.Path(path_type=Path), help="The trusted policy. [default: the node's]"
)


@click.command()
@click.argument("number")
@click.option("-f", "--file", "target", type=click.Path(path_type=Path), required=True, help="Write the bundle here.")
@policy_option
@timeout_option
@click.option("--from-epoch", type=click.IntRange(0), default=0, help="The epoch of the terminals' policy.")
@witness_option
def bundle(
    number: str, target: Path, policy_file: Path | None, timeout_s: float, from_epoch: int, witnesses: tuple[str, ...]
) -> None:
    """Fetch the proved status of certificate NUMBER, or that there is none, for `cert status --offline`."""
    from chainnode.files import write_file
    from chainnode.interop.stapled import QR_BYTES_MAX
    from ledger.times import format_time

    policy = policy_of(policy_file)
    text, stapled = proved_now(number, policy, timeout_s, from_epoch, witnesses)
    write_file(target, text.encode())
    size = len(text.encode())
    say(f"bundle written to {target}: `chainnode cert status {number} --offline {quote(str(target))} --policy POLICY`")
    show(
        {
            "number": number,
            "exists": stapled.status is not None,
            "status": None if stapled.status is None else stapled.status.status.value,
            "proved_until": format_time(stapled.at_ms),
            "height": stapled.verdict.height,
            "bytes": size,
            "fits_qr": size <= QR_BYTES_MAX,
            "policy_sha256": hashlib.sha256(policy.encode()).hexdigest(),
        }
    )


def proved_now(
    number: str, policy: str, timeout_s: float, from_epoch: int = 0, witnesses: Sequence[str] = ()
) -> tuple[str, StapledStatus]:
    """Return the proof of the present status that a node gives, and what it proves; status 3 where it does not hold."""
    params = {"number": number, "from_epoch": from_epoch} | demanded(witnesses)
    text = str(proved_status(params, timeout_s)["proof"])
    return text, _stapled(text, policy, number, None, 0, "the node's answer")


def policy_of(path: Path | None) -> str:
    """Return the text of a policy that can be used: a file's, or the node's own."""
    return settings().client().get("/policy").decode() if path is None else policy_text(path)


def offline_status(number: str, bundle_file: Path, policy_file: Path, fresh: str | None, moment: str | None) -> int:
    """Print what a bundle says of a certificate now or at a time; return the exit status that stands for it."""
    from ledger.times import parse_time

    fresh_ms = span_ms(FRESH if fresh is None else fresh)
    try:
        asked_ms = None if moment is None else int(parse_time(moment, where="--at"))
    except InputError as error:
        raise UsageError(error.what, where=error.where, expected=error.expected, got=error.got) from None
    policy = policy_text(policy_file)
    text = file_text(bundle_file)
    at_ms = time.time_ns() // 1_000_000 if asked_ms is None else asked_ms
    stapled = _stapled(text, policy, number, at_ms, fresh_ms, str(bundle_file), now=asked_ms is None)
    row = _row(number, stapled) | {"policy_sha256": hashlib.sha256(policy.encode()).hexdigest()}
    if settings().machine:
        show(row)
    else:
        show_verdict(row["sentence"])
        show({name: value for name, value in row.items() if name not in ("verified", "sentence", "possible_since")})
    return exit_of_status(stapled.status)


def span_ms(text: str) -> int:
    """Return a span of time such as 24h in milliseconds. Raises `UsageError`."""
    match = _SPAN.fullmatch(text)
    if match is None:
        raise UsageError("not a span of time", where="--fresh", expected="such as 24h, 90s, 30m or 7d", got=text)
    return int(match[1]) * _UNIT_MS[match[2]]


def _stapled(
    text: str, policy: str, number: str, at_ms: int | None, fresh_ms: int, name: str, *, now: bool = False
) -> StapledStatus:
    """Return what a bundle says at a time (None: the last one it proves); status 3 where it does not hold."""
    from chainnode.cli.exits import TooOld
    from chainnode.interop.stapled import StaleStatus, read_stapled_status

    try:
        return read_stapled_status(text, policy, number, at_ms, fresh_ms, is_now=now)
    except StaleStatus as error:
        raise TooOld(error.what, where=name, expected=error.expected, got=error.got, hint=error.hint) from None
    except InputError as error:
        raise refused(name, error, error.hint or "do not rely on it") from None


def _row(number: str, stapled: StapledStatus) -> dict[str, Any]:
    from ledger.times import format_time

    verdict, status = stapled.verdict, stapled.status
    at, until = format_time(stapled.at_ms), format_time(min(stapled.at_ms, verdict.last_ms))
    if status is None:
        said = f"there is no certificate {number}"
    else:
        said = f"certificate {number} is {status.status.value} {status.status_zh}"
    age = _age(stapled.age_ms)
    since = f"; in the {age} since, {join(stapled.possible)} would be unseen" if stapled.possible else ""
    return {
        "verified": True,
        "sentence": f"{said} at {at}, proved up to {until} by block {verdict.height}{since}",
        "number": number,
        **worth(status),
        "time": at,
        "proved_until": until,
        "age_s": stapled.age_ms // 1_000,
        "possible_since": list(stapled.possible),
        "chain_id": verdict.chain_id.hex(),
        "height": verdict.height,
        "cosigners": list(verdict.cosigners),
    }


def _age(age_ms: int) -> str:
    seconds = age_ms // 1_000
    for unit in ("d", "h", "m"):
        size = _UNIT_MS[unit] // 1_000
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def exit_of_status(status: CertificateStatus | None) -> int:
    """Return the exit status that stands for a certificate's status, None: there is none."""
    from chainnode.cli.exits import Exit
    from ledger.certificate_records import Status

    if status is None:
        return int(Exit.NOT_FOUND)
    return int(
        {
            Status.VALID: Exit.OK,
            Status.SUSPENDED: Exit.SUSPENDED,
            Status.REVOKED: Exit.REVOKED,
            Status.CANCELLED: Exit.CANCELLED,
            Status.EXPIRED: Exit.EXPIRED,
            Status.NOT_YET_VALID: Exit.NOT_YET_VALID,
        }[status.status]
    )
