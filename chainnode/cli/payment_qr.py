"""`chainnode payment qr`: merchant QR payloads built from fields, or checked and taken apart."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import click

from chainnode.cli.output import say, show
from primitives.errors import InputError, UsageError

PICTURES = ("svg", "png")
SCALE_MAX = 40


def _account(text: str) -> tuple[str, str | list[tuple[str, str]]]:
    """Return the id and value of ID=VALUE, or the id and inner objects of ID=00:VALUE,01:VALUE."""
    number, equals, value = text.partition("=")
    if not equals or not value or len(number) != 2 or not number.isdecimal():
        raise UsageError("account", expected="ID=VALUE or ID=00:VALUE,01:VALUE with an id of 02 to 51", got=repr(text))
    if value[2:3] != ":":
        return number, value
    return number, [_inner(part, number) for part in value.split(",")]


def _inner(text: str, place: str) -> tuple[str, str]:
    number, colon, value = text.partition(":")
    if not colon or len(number) != 2 or not number.isdecimal():
        raise UsageError("data object", where=place, expected="such as 05:REF1", got=repr(text))
    return number, value


@click.command("qr")
@click.option("--check", "payload", metavar="PAYLOAD", help="Check and show a payload instead of building one.")
@click.option("--unionpay", metavar="ACCOUNT", help="Tag 15: acquirer (8), forwarder (8) and merchant (15 characters).")
@click.option(
    "--account", "accounts", multiple=True, metavar="ID=VALUE", help="Another account, or ID=00:VALUE,01:VALUE."
)
@click.option("--category", metavar="CODE", help="Merchant category code, 4 digits.")
@click.option("--currency", default="CNY", show_default=True, help="ISO 4217 code.")
@click.option("--country", default="CN", show_default=True, help="ISO 3166 code.")
@click.option("--name", help="The merchant's name, at most 25 characters.")
@click.option("--city", help="The merchant's city, at most 15 characters.")
@click.option("--amount", help="Such as 23.72; without it the payer enters one.")
@click.option(
    "--additional", multiple=True, metavar="ID:VALUE", help="Of template 62, such as 05:REF1 or 07:TERMINAL1."
)
@click.option("--local", nargs=3, metavar="LANGUAGE NAME CITY", help="Name and city in another script, such as zh.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Draw into a file: .svg or .png; without it into the terminal.",
)
@click.option(
    "--scale", type=click.IntRange(1, SCALE_MAX), default=6, show_default=True, help="Dots a module, in a file."
)
def payment_qr(payload: str | None, out: Path | None, scale: int, **fields: Any) -> None:  # Any: the options above
    """Build an EMVCo merchant-presented QR payload, print it and draw it; or check one.

    Needs no node. What is built is parsed again before it is shown.
    """
    if payload is not None:
        _check(payload)
        return
    built = _build(**fields)
    if out is not None:
        _draw_file(built, out, scale)
    _check(built, picture=out is None)


def _build(
    *,
    unionpay: str | None,
    accounts: tuple[str, ...],
    category: str | None,
    currency: str,
    country: str,
    name: str | None,
    city: str | None,
    amount: str | None,
    additional: tuple[str, ...],
    local: tuple[str, str, str] | None,
) -> str:
    from chainnode.ingest.emvqr import UNIONPAY, build_qr
    from ledger.currencies import minor_units

    missing = [
        f"--{option}" for option, value in (("category", category), ("name", name), ("city", city)) if value is None
    ]
    if missing or not (unionpay or accounts):
        missing += [] if unionpay or accounts else ["--unionpay or --account"]
        raise UsageError("option missing", expected=", ".join(missing), got="none", hint="or check one with --check")
    assert category is not None
    assert name is not None
    assert city is not None
    named = [_account(text) for text in accounts] + ([(UNIONPAY, unionpay)] if unionpay else [])
    numbers = [number for number, _ in named]
    if len(set(numbers)) != len(numbers):
        raise InputError("account given twice", expected="each id once", got=", ".join(sorted(numbers)))
    return build_qr(
        accounts=dict(named),
        category=category,
        currency=currency,
        country=country,
        name=name,
        city=city,
        amount_minor=None if amount is None else minor_units(amount, currency, where="--amount"),
        additional=[_inner(text, "--additional") for text in additional],
        language=local,
    )


def _check(payload: str, *, picture: bool = False) -> None:
    """Show a payload and what it says; InputError where it is none."""
    from chainnode.cli.context import settings
    from chainnode.ingest.emvqr import parse_qr

    code = parse_qr(payload)
    found = {
        "payload": payload,
        "name": code.merchant_name,
        "currency": code.currency,
        "amount": code.amount_text,
        "accounts": code.merchant_accounts,
        "objects": dict(code.objects),
        "templates": {number: dict(inner) for number, inner in code.templates.items()},
    }
    if settings().machine:
        show(found)
        return
    show({name: value for name, value in found.items() if name not in ("objects", "templates")})
    if picture:
        _draw_terminal(payload)


def _code(payload: str) -> Any:  # Any: segno's, which has no types
    """Return the code of a payload; bytes of UTF-8, for its CRC and every payer's reader take them so."""
    import segno

    return segno.make_qr(payload, error="m", encoding="utf-8")


def _draw_terminal(payload: str) -> None:
    drawn = io.StringIO()
    _code(payload).terminal(drawn, compact=True)
    click.echo(drawn.getvalue())


def _draw_file(payload: str, out: Path, scale: int) -> None:
    from chainnode.files import write_file

    kind = out.suffix.removeprefix(".").lower()
    if kind not in PICTURES:
        raise UsageError(
            "unknown picture", where=str(out), expected=", ".join(f".{name}" for name in PICTURES), got=kind
        )
    drawn = io.BytesIO()
    _code(payload).save(drawn, kind=kind, scale=scale)
    write_file(out, drawn.getvalue())
    say(f"drawn into {out}")
