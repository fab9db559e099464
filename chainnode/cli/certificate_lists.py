"""`cert list` and `cert export`: finding certificates, and the public list of them as a file.

Both take the same filters, which the node judges. Not here: the list's form (`rpc.certificate_lists`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import click

from chainnode.cli.context import settings
from chainnode.cli.output import say, show, show_page
from primitives.errors import UsageError

FORMS: Final = ("csv", "json", "html")
STATUSES: Final = ("not_yet_valid", "valid", "suspended", "revoked", "cancelled", "expired")
BOM: Final = b"\xef\xbb\xbf"
LIST_BEGINS: Final = b',"certificates":['
LIST_ENDS: Final = b'],"count":'
END_BYTES: Final = 4_096
LIST_BYTES_MAX: Final = 1 << 33
"""A list of ten million certificates: what a node may let somebody write to a disk."""

F = TypeVar("F", bound=Callable[..., Any])  # Any: a command's own

_FILTERS: Final = (
    click.option("--number", metavar="BEGINNING", help="Whose number begins so."),
    click.option("--holder", metavar="MEMBER", help="Of this member."),
    click.option("--holder-name", metavar="PART", help="Whose holder's name has this part, in whatever case."),
    click.option("--holder-id", metavar="ID", help="Whose holder has this USCC or LEI."),
    click.option("--product", metavar="PART", help="Whose product's name, model or version has this part."),
    click.option("--category", type=click.IntRange(1, 99), help="Of this category."),
    click.option("--catalogue", type=click.IntRange(1, 9_999), help="Granted by this version of the catalogue."),
    click.option("--status", type=click.Choice(STATUSES), help="With this status, at the time of the list."),
    click.option("--granted-from", metavar="DAY", help="Whose term begins on this day (UTC) or later."),
    click.option("--granted-to", metavar="DAY", help="Whose term begins on this day or earlier."),
    click.option("--valid-until-from", metavar="DAY", help="Whose term ends on this day or later."),
    click.option("--valid-until-to", metavar="DAY", help="Whose term ends on this day or earlier."),
    click.option("--at", metavar="TIME", help="As of this time (RFC 3339) or height. [default: now]"),
)


def filter_options(command: F) -> F:
    """Add the options of the filters to a command."""
    for option in reversed(_FILTERS):
        command = option(command)
    return command


def asked(filters: dict[str, Any]) -> dict[str, Any]:  # Any: JSON
    """Return the parameters of the filters that were given."""
    given = {name: value for name, value in filters.items() if value is not None}
    at = given.get("at", "")
    return given | {"at": int(at)} if at.isascii() and at.isdigit() else given


@click.command("list")
@filter_options
@click.option("--limit", type=click.IntRange(1, 100), default=30, show_default=True, help="The most to show.")
@click.option("--order", type=click.Choice(["asc", "desc"]), help="Up or down by number. [default: asc]")
@click.option("--cursor", help="Where the page before ended.")
def list_(limit: int, order: str | None, cursor: str | None, **filters: Any) -> None:  # Any: what click parsed
    """List certificates that fit all of the filters, with their status."""
    page = {name: value for name, value in (("order", order), ("cursor", cursor)) if value is not None}
    found = settings().client().call("cert_list", limit=limit, **page, **asked(filters))
    rows = [
        {**row, "status": row["status"]["status"], "product": f"{row['product']['name']} {row['product']['model']}"}
        for row in found["certificates"]
    ]
    columns = ("number", "holder", "holder_name", "product", "category", "status", "valid_until")
    show_page(found, rows, columns)


@click.command()
@click.option(
    "-f", "--file", "target", type=click.Path(path_type=Path), required=True, help="list.csv, .json or .html."
)
@click.option("--language", type=click.Choice(["en", "zh"]), default="en", show_default=True, help="Of HTML.")
@click.option("--bom", is_flag=True, help="Begin CSV with a byte-order mark, by which Excel knows it for UTF-8.")
@filter_options
def export(target: Path, language: str, bom: bool, **filters: Any) -> None:  # Any: what click parsed
    """Write the public list of certificates, or of those that fit the filters, to a file.

    The form is that of the file's name. What is said at the end names the block, the time and the list's SHA-256 as
    CSV: who exports as of the same height from another node must get the same.
    """
    from chainnode.cli.exits import VerificationFailed
    from chainnode.files import write_parts

    form = target.suffix.removeprefix(".").lower()
    if form not in FORMS:
        raise UsageError(
            "not a form of this list", where="-f", expected="a name in .csv, .json or .html", got=target.name
        )
    if bom and form != "csv":
        raise UsageError("a byte-order mark is for CSV", where="--bom", expected="-f NAME.csv", got=target.name)
    client, params = settings().client(), asked(filters)
    # One height for all that is asked, however the chain goes on meanwhile.
    place = client.call("cert_list", limit=1, **params)
    params |= {} if "at" in params else {"at": place["as_of"]}
    told, taken = _Passing(), _Passing()

    def file_parts() -> Iterator[bytes]:
        """Yield the file; it is no file before it is what the node says of it."""
        if form != "json":
            told.take(client.parts(f"/certificates.json?{urlencode(params)}", LIST_BYTES_MAX))
        query = urlencode(params | {"lang": language} | ({"bom": 1} if bom else {}))
        yield from taken.through(client.parts(f"/certificates.{form}?{query}", LIST_BYTES_MAX))
        digest = (taken if form == "json" else told).summary(client.endpoint)["csv_sha256"]
        if form == "csv" and taken.digest.hexdigest() != digest:
            where = client.endpoint
            raise VerificationFailed("the list is not what the node says it is", where=where, expected=digest)

    write_parts(target, file_parts())
    summary = (taken if form == "json" else told).summary(client.endpoint)
    say(f"list of {summary['count']:,} certificates written to {target}")
    show(
        {
            "file": str(target),
            "certificates": summary["count"],
            "bytes": taken.size,
            "as_of": summary["as_of"],
            "time": summary["time"],
            "chain_id": summary["chain_id"],
            "csv_sha256": summary["csv_sha256"],
        }
    )


class _Passing:
    """What passed of a list: its size, the digest without a byte-order mark, and both ends, of which JSON speaks."""

    def __init__(self) -> None:
        self.size = 0
        self.digest = hashlib.sha256()
        self._head = self._tail = b""

    def through(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the parts, having looked at each."""
        for part in parts:
            self.digest.update(part.removeprefix(BOM) if not self.size else part)
            self.size += len(part)
            self._head = (self._head + part)[:END_BYTES]
            self._tail = (self._tail + part)[-END_BYTES:]
            yield part

    def take(self, parts: Iterable[bytes]) -> None:
        """Look at the parts, and keep none."""
        for _ in self.through(parts):
            pass

    def summary(self, where: str) -> dict[str, Any]:  # Any: JSON
        """Return what the list as JSON says of itself, without its certificates. Raises `Unreachable`."""
        from chainnode.client import Unreachable

        begins, cut, _ = self._head.partition(LIST_BEGINS)
        _, ends, rest = self._tail.rpartition(LIST_ENDS)
        try:
            found: dict[str, Any] = json.loads(begins + b',"count":' + rest) if cut and ends else {}
        except ValueError:
            found = {}
        if not found.keys() >= {"count", "csv_sha256", "as_of", "time", "chain_id"}:
            raise Unreachable("the answer is not a node's list of certificates", where=where)
        return found


COMMANDS: Final = (list_, export)
