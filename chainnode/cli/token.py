"""`chainnode token`: what the node's operator lets programs and people in with.

Here: making, listing and ending tokens of the home of --home, through its node where that runs. Not here: the file
(`chainnode.tokens`), what roles may do (`rpc.rights`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from chainnode.cli.context import settings
from chainnode.cli.main import Group
from chainnode.cli.output import say, show, show_rows
from primitives.errors import UsageError

if TYPE_CHECKING:
    from chainnode.audit_log import AuditLog
    from chainnode.client import NodeClient
    from chainnode.tokens import TokenBook
    from rpc.ports import TokenRow

ROLES = ("operator", "submitter", "officer", "auditor", "regulator", "public")
UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
COLUMNS = ("name", "role", "member", "state", "created", "expires", "last_used")

Json = dict[str, Any]  # Any: JSON of a node
R = TypeVar("R")


@click.group(cls=Group)
def token() -> None:
    """Make, list and revoke tokens with roles; the secret is shown once and kept hashed."""


@token.command()
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), required=True, help="What its bearer may do.")
@click.option("--expires", default="90d", show_default=True, help="How long it lasts: 90d, 12h, 30m, 45s, or never.")
@click.option("--member", default="", help="Whose it is, for the list.")
@click.option("-f", "--file", "target", type=click.Path(path_type=Path), help="Write the token here (mode 0600).")
def create(name: str, role: str, expires: str, member: str, target: Path | None) -> None:
    """Make the token NAME and show it, this once; -f keeps it off the screen."""
    valid_s = seconds_of(expires)
    if target is not None and target.exists():
        raise UsageError("file exists already", where=str(target), hint="move it away first")
    if target is not None and not target.parent.is_dir():  # before there is a token that nobody would ever see
        raise UsageError("no such directory", where=str(target.parent), hint="make it first")

    def through(client: NodeClient) -> Json:
        found: Json = client.call("admin_createToken", name=name, role=role, valid_s=valid_s, member=member)
        return {"token": found["token"], **found["described"]}

    def beside(book: TokenBook) -> Json:
        import msgspec

        from rpc.methods.tokens import CreateToken
        from rpc.rights import Role

        try:
            msgspec.convert({"name": name, "role": role, "valid_s": valid_s, "member": member}, CreateToken)
        except msgspec.ValidationError as error:
            raise UsageError("not a token's name or member", got=str(error)) from None
        made = book.create(name, Role(role), member=member, valid_ms=valid_s * 1_000 or None)
        return {"token": made.token, **_row(made.row)}

    row = _done(through, beside, told=("admin_createToken", name))
    if target is not None:
        from chainnode.files import PRIVATE_FILE_MODE, write_file

        write_file(target, f"{row.pop('token')}\n".encode(), mode=PRIVATE_FILE_MODE, replace=False)
        row["file"] = str(target)
        say(f"token written to {target}; use it with --token-file {target}")
    else:
        say("this is the only time that the token is shown")
    show(row)


@token.command("list")
def list_tokens() -> None:
    """List the tokens with their roles, ends and last uses, those that ended too."""

    def through(client: NodeClient) -> list[Json]:
        found: list[Json] = client.call("admin_listTokens")["tokens"]
        return found

    show_rows(_done(through, lambda book: [_row(row) for row in book.list()]), columns=COLUMNS, wrap="tokens")


@token.command()
@click.argument("name")
def revoke(name: str) -> None:
    """End the token NAME for good, at once: its connections close too."""

    def through(client: NodeClient) -> Json:
        found: Json = client.call("admin_revokeToken", name=name)["described"]
        return found

    show(_done(through, lambda book: _row(book.revoke(name)), told=("admin_revokeToken", name)))


def _done(
    through: Callable[[NodeClient], R], beside: Callable[[TokenBook], R], told: tuple[str, str] | None = None
) -> R:
    """Return what the home's node answers where one runs, else what is done to the home's own file.

    `told` is what the audit log is told of a change, as the node would have: the method, and the token's name.
    """
    if settings().home is None:
        return through(settings().client(token=True))
    from chainnode.home import HomeInUse

    home = settings().require_home()
    home.check()
    home.make_data()
    try:
        with home.lock():
            import time

            from chainnode.audit_log import AuditLog
            from chainnode.tokens import TokenBook

            record = AuditLog(home.audit_log)  # where it cannot be used nothing is done
            found = beside(TokenBook(home.tokens, lambda: time.time_ns() // 1_000_000))
            if told is not None:
                _tell(record, *told)
            return found
    except HomeInUse:
        return through(settings().client(token=True))


def _tell(record: AuditLog, method: str, name: str) -> None:
    from rpc.ports import Privileged
    from rpc.rights import Role

    record.called(Privileged("the command line", Role.OPERATOR, "", method, "ok", "", (name,), 1))
    record.close()


def seconds_of(text: str) -> int:
    """Return a length of time in seconds, 0 for `never`; `UsageError` for anything else."""
    match = re.fullmatch(r"([1-9][0-9]{0,8})([smhd])", text)
    if text == "never":
        return 0
    if match is None:
        raise UsageError("not a length of time", expected="such as 90d, 12h, 30m, 45s, or never", got=text)
    return int(match[1]) * UNITS_S[match[2]]


def _row(row: TokenRow) -> Json:
    from ledger.times import format_time

    times = {"created": row.created_ms, "expires": row.expires_ms, "last_used": row.used_ms}
    shown = {name: format_time(ms) if ms else None for name, ms in times.items()}
    return {"name": row.name, "role": row.role, "member": row.member, "state": row.state, **shown}
