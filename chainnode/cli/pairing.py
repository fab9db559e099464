"""`chainnode keys pairing`: keys by which two banks agree on the secrets of their payments."""

from __future__ import annotations

import time
from pathlib import Path

import click

from chainnode.cli.context import hash_of, settings
from chainnode.cli.exits import Exit
from chainnode.cli.main import Group
from chainnode.cli.output import records, say, show, show_rows
from chainnode.cli.submit import member_of_settings, open_door, send_all, timeout_option, wait_option

DAY_MS = 86_400_000
INTERNAL_ERROR = -32603
COLUMNS = ("member", "from", "until", "secret", "key")
NOT_ANNOUNCED, HERE, NOT_HERE, OTHERS = "not announced", "here", "not here", ""

from_day_option = click.option(
    "--from-day", metavar="YYYY-MM-DD", help="The first day (UTC) on which it holds. [default: tomorrow, or today]"
)


@click.group(cls=Group)
def pairing() -> None:
    """Make, announce, rotate and erase the keys by which two banks agree on the secrets of their payments."""


@pairing.command()
def new() -> None:
    """Make a new X25519 key in the home's keys/pairing (mode 0600); `announce` tells the other members."""
    from chainnode.pairing import new_pairing_key

    folder = pairing_folder()
    public = new_pairing_key(folder)
    say(f"key written to {folder}; announce it with `chainnode keys pairing announce`")
    show({"folder": str(folder), "key": public.hex()})


@pairing.command()
@click.argument("key", required=False)
@from_day_option
@wait_option
@timeout_option
def announce(key: str | None, from_day: str | None, wait: str, timeout_s: float) -> int:
    """Announce KEY on the chain: from its day on, others agree on secrets with it. Unless told, the one that is new."""
    from chainnode.pairing import announced_keys, pairing_keys_in
    from primitives.errors import UsageError

    client = settings().client(timeout_s=timeout_s, token=True)
    held = announced_keys(client).get(member_of_settings(), ())
    here = pairing_keys_in(pairing_folder())
    if key is None:
        fresh = [public for public in here if all(each.key != public for each in held)]
        if len(fresh) != 1:
            raise UsageError(
                "name the key to announce",
                expected="one key that is not announced yet",
                got=len(fresh),
                hint="make one with `chainnode keys pairing new`, or name it",
            )
        public = fresh[0]
    else:
        public = bytes.fromhex(hash_of(key, "a pairing key"))
        if public not in here:
            raise UsageError("the secret part of this key is not here", where=str(pairing_folder()), got=key)
    return _announce(public, _day(from_day, first=not held), wait=wait, timeout_s=timeout_s)


@pairing.command()
@from_day_option
@wait_option
@timeout_option
def rotate(from_day: str | None, wait: str, timeout_s: float) -> int:
    """Make a new key and announce it from tomorrow on; the old one's secret part stays until it is erased.

    Until then a message of an earlier day, however late it comes, still gives the key of its payment.
    """
    from chainnode.client import CallRefused
    from chainnode.pairing import announced_keys, new_pairing_key

    client = settings().client(timeout_s=timeout_s, token=True)
    held = announced_keys(client).get(member_of_settings(), ())
    day, folder = _day(from_day, first=not held), pairing_folder()
    public = new_pairing_key(folder)
    try:
        status = _announce(public, day, wait=wait, timeout_s=timeout_s)
    except CallRefused as refused:
        if refused.code != INTERNAL_ERROR:  # after which it is not known whether it was taken
            _drop(folder, public)
        raise
    if status == Exit.ERROR:
        _drop(folder, public)
    return status


@pairing.command("list")
def list_keys() -> None:
    """List the keys that members announced and for which days they hold, and whether the secret part is here."""
    from chainnode.pairing import announced_keys, pairing_keys_in
    from ledger.payments import date_text

    member = member_of_settings()
    here = pairing_keys_in(pairing_folder())
    rows = []
    announced = announced_keys(settings().client())
    for name, keys in sorted(announced.items()):
        ends = [*(date_text(each.from_day) for each in keys[1:]), None]
        for each, until in zip(keys, ends, strict=True):
            secret = OTHERS if name != member else HERE if each.key in here else NOT_HERE
            row = {"member": name, "from": date_text(each.from_day), "until": until, "secret": secret}
            rows.append({**row, "key": each.key.hex()})
    known = {each.key for each in announced.get(member, ())}
    for public in here.keys() - known:
        rows.append({"member": member, "from": None, "until": None, "secret": NOT_ANNOUNCED, "key": public.hex()})
    show_rows(rows, columns=COLUMNS, wrap="keys")


@pairing.command()
@click.argument("key")
@click.option("--yes", is_flag=True, help="Do not ask.")
def erase(key: str, yes: bool) -> None:
    """Overwrite and remove the secret part of KEY: no payment key of its days can be told here any more."""
    from chainnode.pairing import erase_pairing_key

    public = bytes.fromhex(hash_of(key, "a pairing key"))
    if not yes:
        click.confirm("Messages of its days can then not be paired any more. Erase it?", abort=True, err=True)
    path = erase_pairing_key(pairing_folder(), public)
    say("erased here; the other side can tell these payments' keys until it has erased its own")
    show({"file": str(path), "key": public.hex(), "erased": True})


def _drop(folder: Path, public: bytes) -> None:
    """Remove the secret part of a key that this command made and that nobody will ever agree by."""
    from chainnode.pairing import erase_pairing_key

    erase_pairing_key(folder, public)
    say("it was not announced, so the key that was made for it is removed again")


def pairing_folder() -> Path:
    """Return where the member for whom the global options act keeps its secret pairing keys."""
    options = settings()
    if options.as_key is not None:
        return options.as_key.parent / f"{options.require_key().member}-pairing"
    home = options.require_home()
    home.check()
    return home.pairing


def _day(text: str | None, *, first: bool) -> int:
    from ledger.times import day_of, parse_date

    if text is not None:
        return parse_date(text, where="--from-day")
    return day_of(time.time_ns() // 1_000_000 + (0 if first else DAY_MS))


def _announce(public: bytes, day: int, *, wait: str, timeout_s: float) -> int:
    import secrets

    from chainnode.submission import NewEvent
    from ledger.pairing_keys import ANNOUNCE_PAIRING_KEY, SCHEMA, AnnouncePairingKey
    from primitives.encoding import encode

    client = settings().client(timeout_s=timeout_s, token=True)
    body = encode(AnnouncePairingKey(public, day))
    event = NewEvent(ANNOUNCE_PAIRING_KEY, SCHEMA, body, f"pairing key from {day}", secrets.token_bytes(16))
    with records(None) as out, open_door(client) as door:
        return send_all(client, door, [event], out, wait=wait, timeout_s=timeout_s)
