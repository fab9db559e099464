"""`chainnode cert scan`, `cert mark qr` and `cert mark bundle`: drawing a mark, and holding one against the chain.

The code is made of a certificate that is proved, and read from a picture or given as text. What it is worth is proved
by status proofs, which a node gives or a bundle brings along. Not here: what is judged (`chainnode.interop.marks`),
pictures (`chainnode.scanning`).
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from chainnode.cli.certificate_interop import (
    FRESH,
    exit_of_status,
    policy_of,
    policy_option,
    proved_now,
    span_ms,
    timeout_option,
)
from chainnode.cli.certificate_marks import MEDIA, mark
from chainnode.cli.certificate_proofs import worth
from chainnode.cli.context import settings
from chainnode.cli.output import say, show, show_verdict
from chainnode.cli.proofs import PROOF_BYTES_MAX, demanded, file_text, policy_text, refused, witness_option
from primitives.errors import InputError, UsageError

if TYPE_CHECKING:
    from chainnode.interop.marks import MarkVerdict, Moment, Use
    from ledger.mark_codes import MarkCode

POLL_S = 0.1
PICTURES = ("svg", "png")
ENDING_CHARACTERS_MAX = 4


@click.command()
@click.argument("source", metavar="FILE|CODE")
@click.option(
    "--url", "bases", multiple=True, help="An explorer that it may lead to. Repeatable. [default: the node's]"
)
@click.option("--medium", type=click.Choice(MEDIA), help="Where the mark stands, to be held against its licence.")
@click.option("--covers", multiple=True, metavar="TEXT", help="With --medium: what of the scope it speaks of.")
@policy_option
@timeout_option
@click.option("--from-epoch", type=click.IntRange(0), default=0, help="The epoch of the policy.")
@witness_option
@click.option("--offline", "bundle_file", type=click.Path(path_type=Path), help="Ask this bundle and no node.")
@click.option("--fresh", metavar="TIME", help="With --offline: the oldest proof to rely on. [default: 24h]")
def scan(
    source: str,
    bases: tuple[str, ...],
    medium: str | None,
    covers: tuple[str, ...],
    policy_file: Path | None,
    timeout_s: float,
    from_epoch: int,
    witnesses: tuple[str, ...],
    bundle_file: Path | None,
    fresh: str | None,
) -> int:
    """Hold a mark against the chain: a picture FILE (PNG, JPEG; `-`: standard input), or its CODE as text.

    Status 0 says that the code matches, the certificate is valid and the mark licensed; 2 that the argument is neither
    a file nor a code; 3 that the code does not match; 6 that there is no such certificate, or no such file; 10
    suspended, 11 revoked, 12 cancelled, 13 expired, 14 not yet valid; 15 valid, but the mark is not licensed, or not
    for this --medium.
    """
    from chainnode.interop.marks import Moment, Use
    from ledger.mark_bodies import Medium
    from ledger.mark_codes import check_host, checked_base, parse_mark_code

    if covers and medium is None:
        raise UsageError("--covers without a medium", expected="--medium and --covers")
    if bundle_file is None and fresh is not None:
        raise UsageError("an option of a bundle without one", expected="--offline BUNDLE with --fresh")
    if bundle_file is not None and (policy_file is None or not bases or witnesses or from_epoch):
        raise UsageError("options of a bundle", expected="--offline BUNDLE --policy POLICY --url SITE with --fresh")
    code = parse_mark_code(_text_of(source))
    sites = [checked_base(base) for base in bases or (settings().client().endpoint,)]
    check_host(code, sites)
    use = Use(None if medium is None else Medium(medium), covers)
    policy = policy_of(policy_file) if bundle_file is None else policy_text(policy_file or Path())
    if bundle_file is None:
        proofs = proofs_now(code.number, policy, timeout_s, from_epoch, witnesses)
        moment, name = Moment(), "the node's answer"
    else:
        proofs, name = _pages(bundle_file), str(bundle_file)
        moment = Moment(time.time_ns() // 1_000_000, span_ms(FRESH if fresh is None else fresh), is_now=True)
    verdict = _judged(code.text, proofs, policy, sites, use, moment, name)
    row = _row(verdict, use) | {"policy_sha256": hashlib.sha256(policy.encode()).hexdigest()}
    if settings().machine:
        show(row)
    else:
        show_verdict(row["sentence"])
        show({key: value for key, value in row.items() if key not in ("verified", "sentence", "possible_since")})
    return _exit(verdict)


@click.command()
@click.argument("number")
@click.option("-f", "--file", "target", type=click.Path(path_type=Path), required=True, help="An .svg or .png.")
@click.option("--url", "base", help="Where the explorer is that the code leads to. [default: the node's]")
@click.option("--scale", type=click.IntRange(1, 16), default=4, show_default=True, help="PNG: pixels a dot.")
@policy_option
@timeout_option
def qr(number: str, target: Path, base: str | None, scale: int, policy_file: Path | None, timeout_s: float) -> None:
    """Draw the mark of certificate NUMBER, with a code that leads to its page and can be held against the chain."""
    from chainnode.files import write_file
    from ledger.mark_codes import checked_base
    from rpc.mark_pictures import mark_png, mark_svg

    form = target.suffix.lower().removeprefix(".")
    if form not in PICTURES:
        raise UsageError("which picture?", where=str(target), expected="a name that ends with .svg or .png")
    site = checked_base(base or settings().client().endpoint)
    code = _code_to_print(number, site, policy_of(policy_file), timeout_s)
    picture = mark_png(code.text, number, scale) if form == "png" else mark_svg(code.text, number).encode()
    write_file(target, picture)
    if _is_here_alone(site):
        say("the code leads to an address that only this machine reaches: name the explorer's with --url")
    show({"number": number, "file": str(target), "code": code.text, "bytes": len(picture)})


def _code_to_print(number: str, site: str, policy: str, timeout_s: float) -> MarkCode:
    """Return the code of a mark that may be used, made of what is proved: nobody takes back what was printed."""
    from chainnode.cli.exits import Missing
    from chainnode.interop.marks import Moment, Use
    from chainnode.interop.stapled import certificate_in
    from ledger.mark_codes import mark_code
    from ledger.status_proofs import verify_status

    proofs = proofs_now(number, policy, timeout_s, 0, ())
    proved = verify_status(proofs[0], policy)
    certificate = certificate_in(proved)
    if certificate is None:
        raise Missing("no such certificate", where=number)
    code = mark_code(site, proved.chain_id, certificate)
    verdict = _judged(code.text, proofs, policy, [site], Use(), Moment(), "the node's answer")
    if not verdict.licensed:
        raise UsageError(
            "the mark may not be used",
            where=number,
            expected="licensed",
            got=verdict.standing,
            hint="its certification body licenses it with `chainnode cert mark license`",
        )
    return code


def _is_here_alone(site: str) -> bool:
    host = urlsplit(site).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@click.command("bundle")
@click.argument("number")
@click.option("-f", "--file", "target", type=click.Path(path_type=Path), required=True, help="Write the bundle here.")
@policy_option
@timeout_option
@click.option("--from-epoch", type=click.IntRange(0), default=0, help="The epoch of the terminals' policy.")
@witness_option
def mark_bundle(
    number: str, target: Path, policy_file: Path | None, timeout_s: float, from_epoch: int, witnesses: tuple[str, ...]
) -> None:
    """Fetch what proves status and mark of certificate NUMBER, for `cert scan --offline`."""
    from chainnode.files import write_file

    policy = policy_of(policy_file)
    proofs = proofs_now(number, policy, timeout_s, from_epoch, witnesses)
    data = "".join(proofs).encode()
    write_file(target, data)
    say(f"bundle written to {target}: `chainnode cert scan FILE --offline {quote(str(target))} --policy P --url SITE`")
    show(
        {
            "number": number,
            "proofs": len(proofs),
            "bytes": len(data),
            "policy_sha256": hashlib.sha256(policy.encode()).hexdigest(),
        }
    )


def proofs_now(number: str, policy: str, timeout_s: float, from_epoch: int, witnesses: Sequence[str]) -> list[str]:
    """Return the proofs of a certificate, its mark, the scheme's policy and its scope, all of one block.

    Of a certificate that there is not just the one that proves so.
    """
    text, stapled = proved_now(number, policy, timeout_s, from_epoch, witnesses)
    if stapled.status is None:
        return [text]
    params: dict[str, Any] = {"number": number, "height": int(stapled.verdict.height), "from_epoch": from_epoch}
    client = settings().client()
    end = time.monotonic() + timeout_s
    while (found := client.call("cert_getMark", **params, **demanded(witnesses))["proofs"]) is None:
        from chainnode.client import TimedOut

        if time.monotonic() >= end:
            raise TimedOut("no proof of the mark yet", where=number, hint="ask again")
        time.sleep(POLL_S)
    return [text, str(found["license"]), str(found["policy"]), str(found["scope"])]


def _text_of(source: str) -> str:
    """Return what a code says: the argument itself where it is no file's name, or what the picture holds."""
    if "://" in source:
        return source
    from chainnode.files import read_file
    from chainnode.scanning import PICTURE_BYTES_MAX, code_in

    if source == "-":
        return code_in(sys.stdin.buffer.read(PICTURE_BYTES_MAX + 1), "standard input")
    if not os.path.exists(source) and not _names_a_file(source):
        raise UsageError(
            "neither a file nor the code of a mark",
            where="FILE|CODE",
            expected="a PNG or JPEG, or the whole code: https://SITE/certificate/NUMBER?mark=…",
            got=source,
        )
    return code_in(read_file(Path(source), size_max=PICTURE_BYTES_MAX), source)


def _names_a_file(source: str) -> bool:
    """Say whether what is no file here was meant as one: it names a folder, or has a file's ending."""
    ending = Path(source).suffix.removeprefix(".")
    return os.sep in source or (ending.isalpha() and len(ending) <= ENDING_CHARACTERS_MAX)


def _pages(bundle_file: Path) -> list[str]:
    from ledger.proof_kinds import pages_of

    try:
        return pages_of(file_text(bundle_file, size_max=PROOF_BYTES_MAX))
    except InputError as error:
        raise refused(str(bundle_file), error, error.hint or "do not rely on it") from None


def _judged(
    text: str, proofs: list[str], policy: str, sites: list[str], use: Use, moment: Moment, name: str
) -> MarkVerdict:
    """Return what a mark is worth; status 3 where code or proofs do not hold."""
    from chainnode.cli.exits import TooOld
    from chainnode.interop.marks import judge_mark
    from chainnode.interop.stapled import StaleStatus
    from ledger.mark_codes import parse_mark_code
    from ledger.mark_errors import MarkCodeError

    try:
        return judge_mark(parse_mark_code(text), proofs, policy, sites, use, moment)
    except MarkCodeError:
        raise
    except StaleStatus as error:
        raise TooOld(error.what, where=name, expected=error.expected, got=error.got, hint=error.hint) from None
    except InputError as error:
        raise refused(name, error, error.hint or "do not rely on it") from None


def _row(verdict: MarkVerdict, use: Use) -> dict[str, Any]:
    from ledger.times import format_time

    stapled, code = verdict.stapled, verdict.code
    return {
        "verified": True,
        "sentence": _sentence(verdict, use),
        "number": code.number,
        **worth(stapled.status),
        "mark": None if verdict.standing is None else verdict.standing.value,
        "licensed": verdict.licensed,
        "media": [] if verdict.license is None else [medium.value for medium in verdict.license.media],
        "mark_use": None if verdict.rule is None else verdict.rule.value,
        "breach": verdict.breach,
        "code": code.text,
        "time": format_time(stapled.at_ms),
        "proved_until": format_time(min(stapled.at_ms, stapled.verdict.last_ms)),
        "possible_since": list(stapled.possible),
        "chain_id": stapled.verdict.chain_id.hex(),
        "height": int(stapled.verdict.height),
        "cosigners": list(stapled.verdict.cosigners),
    }


def _sentence(verdict: MarkVerdict, use: Use) -> str:
    number, status = verdict.code.number, verdict.stapled.status
    if status is None:
        return f"there is no certificate {number}"
    said = f"the code matches certificate {number}, which is {status.status.value} {status.status_zh}"
    if verdict.standing is None:
        return f"{said}; of its mark this bundle proves nothing"
    if verdict.licensed:
        where = "" if use.medium is None else f" for {use.medium.value}"
        return f"{said}; the mark is licensed{where}"
    if verdict.breach is not None:
        return f"{said}; this use of the mark is not admitted: {verdict.breach}"
    return f"{said}; the mark is not licensed: {verdict.standing.value}"


def _exit(verdict: MarkVerdict) -> int:
    from chainnode.cli.exits import Exit

    status = exit_of_status(verdict.stapled.status)
    return status if status != Exit.OK or verdict.licensed is not False else int(Exit.NOT_LICENSED)


mark.add_command(mark_bundle)
mark.add_command(qr)
COMMANDS = (mark, scan)
