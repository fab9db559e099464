"""`chainnode payment erase`: what is private of payments is destroyed; their statements and proofs stay."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from chainnode.cli.context import event_id_of, settings
from chainnode.cli.output import records, say
from chainnode.cli.payment_kept import found_in, sought, sought_options
from chainnode.cli.reporting import reporter_files
from chainnode.cli.submit import open_door, send_all, timeout_option, wait_option
from ledger.disclosure_bodies import ErasureBasis
from primitives.errors import UsageError


@click.command()
@click.argument("events", nargs=-1, metavar="EVENT...")
@sought_options
@click.option(
    "--basis", required=True, type=click.Choice([each.value for each in ErasureBasis]), help="Why it is erased."
)
@click.option("-f", "--file", "target", type=click.Path(path_type=Path), help="Write the erasure's receipt here.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@wait_option
@timeout_option
def erase(
    events: tuple[str, ...],
    account: str | None,
    name: str | None,
    reference: str | None,
    basis: str,
    target: Path | None,
    yes: bool,
    wait: str,
    timeout_s: float,
) -> int:
    """Destroy what is kept of EVENTs, or of those that an option names: keys, salts, values, and their messages.

    Nobody can bring it back. The statements and every proof of them stay as they are; that it was erased is recorded.
    """
    from chainnode.erasing import erase_payments
    from chainnode.files import write_file
    from chainnode.private_store import PrivateStore
    from chainnode.submission import NewEvent
    from ledger.disclosure_bodies import ERASE, SCHEMA
    from primitives.encoding import encode

    wanted = sought(account, name, reference)
    ids = [bytes.fromhex(event_id_of(event)) for event in events]
    if bool(wanted) is bool(ids):
        got = "both" if ids else "neither"
        raise UsageError(
            "what is to be erased is not clear", expected="EVENTs, or --account, --name, --reference", got=got
        )
    private = reporter_files().private
    if wanted:
        with PrivateStore(private) as store:
            ids = [each.event_id for each in found_in(store, wanted)]
        if not ids:
            say("nothing of that is kept here; what was erased before is not found again")
            return 1
    client = settings().client(timeout_s=timeout_s, token=True)
    if not yes:
        click.confirm(f"What is kept of {len(set(ids))} payments is then gone for good. Erase?", abort=True, err=True)
    with PrivateStore(private) as store:
        erasure = erase_payments(store, ids, ErasureBasis(basis), time.time_ns() // 1_000_000)
    before = len(erasure.event_ids) - erasure.erased
    say(f"erased now: {erasure.erased}" + (f"; before: {before}" if before else ""))
    say("keys and tokens stay open to guesses while a bank holds the pairing key of their day: erase that too")
    if target is not None:
        write_file(target, json.dumps(erasure.receipt(), indent=2).encode() + b"\n", mode=0o600)
        say(f"receipt of the erasure written to {target}; `chainnode prove` fetches that of its record")
    event = NewEvent(ERASE, SCHEMA, encode(erasure.body), "erasure", erasure.reference)
    with records(None) as out, open_door(client) as door:
        return send_all(client, door, [event], out, wait=wait, timeout_s=timeout_s)
