"""`chainnode member accredit` and its like: whose evidence counts, the scheme's policy, and the catalogue's standards.

Each proposes what the members then vote on, as `chainnode member propose` does for everything else; `member
accreditations` shows what holds.
"""

from __future__ import annotations

import time
from pathlib import Path
from shlex import quote
from typing import Any

import click

from chainnode.cli.context import settings
from chainnode.cli.output import say, show, show_rows
from chainnode.cli.validator import propose_action, proposing

ROLES = ("laboratory", "inspector")
MONTHS_DEFAULT = 36
MONTHS_MAX = 72
COLUMNS = ("member", "role", "status", "categories", "standard", "valid_from", "ends", "reason")

role_argument = click.argument("role", type=click.Choice(ROLES))


@click.command()
@click.argument("member_id", metavar="MEMBER")
@role_argument
@click.option(
    "--category", "categories", multiple=True, type=int, help="A category's number, repeatable. [default: all]"
)
@click.option("--from", "from_text", metavar="TIME", help="RFC 3339. [default: now]")
@click.option("--until", "until_text", metavar="TIME", help="RFC 3339, exclusive; instead of --months.")
@click.option("--months", type=click.IntRange(1, MONTHS_MAX), help=f"How long, in months. [default: {MONTHS_DEFAULT}]")
@click.option("--standard", help="What it was accredited by. [default: ISO/IEC 17025, of an inspector ISO/IEC 17020]")
@proposing
def accredit(
    member_id: str,
    role: str,
    categories: tuple[int, ...],
    from_text: str | None,
    until_text: str | None,
    months: int | None,
    standard: str | None,
    **options: Any,
) -> int:
    """Propose that evidence of MEMBER counts, as a laboratory or an inspector, for categories and a time."""
    from ledger.accreditations import USUAL_STANDARD, AccreditedRole
    from ledger.certificate_records import add_months
    from ledger.times import format_time, parse_time
    from primitives.errors import UsageError

    if until_text is not None and months is not None:
        raise UsageError("two ends of one accreditation", expected="--until or --months", got="both")
    from_ms = time.time_ns() // 1_000_000 if from_text is None else parse_time(from_text, where="--from")
    until_ms = add_months(from_ms, months or MONTHS_DEFAULT)
    if until_text is not None:
        until_ms = parse_time(until_text, where="--until")
    action = {
        "type": "accredit",
        "member": member_id,
        "role": role,
        "categories": sorted(set(categories)) or _all_categories(),
        "valid_from": format_time(from_ms),
        "valid_until": format_time(until_ms),
        "standard": standard or USUAL_STANDARD[AccreditedRole(role)],
    }
    return propose_action(action, **options)


def _all_categories() -> list[int]:
    newest = settings().client().call("gov_getPolicy")["catalogues"][-1]
    return sorted(category["number"] for category in newest["categories"])


@click.command("end-accreditation")
@click.argument("member_id", metavar="MEMBER")
@role_argument
@click.option("--reason", required=True, help="Why: lower-case letters, digits and _, such as lost_staff.")
@click.option("--from", "from_text", metavar="TIME", help="RFC 3339. [default: with the decision]")
@proposing
def end_accreditation(member_id: str, role: str, reason: str, from_text: str | None, **options: Any) -> int:
    """Propose that evidence of MEMBER in this role counts no more, from the decision on or a later time."""
    from ledger.times import format_time, parse_time

    from_ms = 0 if from_text is None else parse_time(from_text, where="--from")
    action = {"type": "end_accreditation", "member": member_id, "role": role, "from": format_time(from_ms)}
    return propose_action({**action, "reason": reason}, **options)


@click.command()
@click.argument("member_id", metavar="[MEMBER]", required=False)
@click.option("--role", type=click.Choice(ROLES), help="In this role alone.")
@click.option("--category", type=int, help="For this category alone.")
@click.option("--at", "at_text", metavar="TIME", help="What they are worth at this time, RFC 3339. [default: now]")
@click.option("--proof", "proof_file", type=click.Path(path_type=Path), help="Write a proof for `verify` here instead.")
def accreditations(
    member_id: str | None, role: str | None, category: int | None, at_text: str | None, proof_file: Path | None
) -> None:
    """Show whose evidence counts, for which categories and until when; of MEMBER alone where it is named.

    With --proof FILE, MEMBER and --role: fetch the proof of that accreditation, or that there was none.
    """
    if proof_file is not None:
        _prove(member_id, role, category, at_text, proof_file)
        return
    asked = {"member": member_id, "role": role, "category": category, "at": at_text}
    given = {key: value for key, value in asked.items() if value is not None}
    rows = settings().client().pages("gov_listAccreditations", "accreditations", **given)
    if settings().machine:
        show({"accreditations": rows})
        return
    for row in rows:
        row["categories"] = ", ".join(map(str, row["categories"]))
    show_rows(rows, columns=COLUMNS, wrap="accreditations")


def _prove(member_id: str | None, role: str | None, category: int | None, at_text: str | None, target: Path) -> None:
    from chainnode.files import write_file
    from primitives.errors import UsageError

    if member_id is None or role is None or category is not None:
        raise UsageError("a proof is of one row", expected="MEMBER and --role with --proof, and no --category")
    at = {} if at_text is None else {"at": at_text}
    found = settings().client().call("gov_getAccreditationProof", member=member_id, role=role, **at)
    write_file(target, str(found["proof"]).encode())
    say(f"proof written to {target}; verify it with `chainnode verify {quote(str(target))} --policy POLICY`")
    show({"member": member_id, "role": role, "height": found["height"], "file": str(target)})


@click.command("scheme-policy")
@click.argument("figures", nargs=-1, required=True, metavar="FIGURE=VALUE...")
@proposing
def propose_scheme_policy(figures: tuple[str, ...], **options: Any) -> int:
    """Propose other figures of the scheme's policy, such as mark_use=notice; `member policy` shows them."""
    from ledger.scheme_policy import SchemePolicy
    from primitives.errors import UsageError

    names = SchemePolicy.__struct_fields__
    action: dict[str, Any] = {"type": "set_scheme_policy", **dict.fromkeys(names)}
    for item in figures:
        name, found, value = item.partition("=")
        if not found or name not in names:
            raise UsageError("not a figure of the scheme's policy", expected=" or ".join(names) + "=VALUE", got=item)
        action[name] = int(value) if value.isascii() and value.isdigit() else value
    return propose_action(action, **options)


@click.command("standards")
@click.argument("version", type=click.IntRange(1))
@click.argument("file", type=click.Path(path_type=Path))
@proposing
def propose_standards(version: int, file: Path, **options: Any) -> int:
    """Propose what products of catalogue VERSION are examined by: FILE is JSON, {"5": ["JR/T 0002"], ...}."""
    import json

    from chainnode.files import read_file
    from chainnode.founding import ENTRY_BYTES_MAX
    from primitives.errors import InputError

    try:
        named = json.loads(read_file(file, size_max=ENTRY_BYTES_MAX))
        categories = sorted((int(number), list(standards)) for number, standards in named.items())
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise InputError(
            "not standards of categories", where=str(file), expected='JSON such as {"5": ["JR/T 0002"]}'
        ) from None
    rows = [{"number": number, "standards": standards} for number, standards in categories]
    return propose_action({"type": "set_standards", "version": version, "categories": rows}, **options)
