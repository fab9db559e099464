"""`prove`, `verify`, `policy export`: answers that need no trust in the node that gave them.

`verify` opens no connection: it reads two files and computes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chainnode.cli.context import settings
from chainnode.cli.main import Group
from chainnode.cli.output import join, say, show
from primitives.errors import InputError

if TYPE_CHECKING:
    from ledger.receipts import Verdict

FILE_BYTES_MAX = 16 * 1024 * 1024
COVERED_WITHIN_S = 90.0
POLL_S = 0.1


@click.command()
@click.argument("event_id")
@click.option(
    "-f", "--file", "target", type=click.Path(path_type=Path), help="Write the receipt here. [default: stdout]"
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0, 3600),
    default=COVERED_WITHIN_S,
    help="Seconds to wait for a checkpoint.",
)
def prove(event_id: str, target: Path | None, timeout_s: float) -> None:
    """Fetch the receipt of EVENT_ID: event, proof and cosigned checkpoint (a .tlog-proof)."""
    text = fetch_receipt(event_id.lower(), timeout_s)
    if target is None:
        click.echo(text, nl=False)
        return
    from chainnode.files import write_file

    write_file(target, text.encode())
    say(f"receipt written to {target}; verify it with `chainnode verify {target} --policy POLICY`")
    if settings().machine:
        show({"event_id": event_id, "file": str(target)})


def fetch_receipt(event_id: str, timeout_s: float) -> str:
    """Return the text of a receipt, waiting until a checkpoint covers the event."""
    import time

    from chainnode.client import UNAVAILABLE, CallRefused

    client = settings().client()
    end = time.monotonic() + timeout_s
    while True:
        try:
            return str(client.call("ledger_getProof", event_id=event_id)["receipt"])
        except CallRefused as refused:
            if refused.code != UNAVAILABLE or time.monotonic() >= end:
                raise
        time.sleep(POLL_S)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--policy", "policy_file", type=click.Path(path_type=Path), required=True, help="The trusted policy.")
def verify(file: Path, policy_file: Path) -> None:
    """Verify the receipt in FILE against a policy, offline. Status 3 where anything does not hold."""
    from chainnode.cli.exits import VerificationFailed
    from ledger.receipts import verify as verify_receipt

    receipt, policy = _text(file), _text(policy_file)
    try:
        verdict = verify_receipt(receipt, policy)
    except InputError as error:
        raise VerificationFailed(
            error.what,
            where=f"{file}{': ' + error.where if error.where else ''}",
            expected=error.expected,
            got=error.got,
            hint="do not rely on this receipt",
        ) from None
    _show_verdict(verdict, policy)


def _text(path: Path) -> str:
    from chainnode.cli.exits import VerificationFailed
    from chainnode.files import read_file

    data = read_file(path, size_max=FILE_BYTES_MAX)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise VerificationFailed("not text", where=str(path), expected="UTF-8", got=f"byte {error.start}") from None


def _show_verdict(verdict: Verdict, policy: str) -> None:
    from ledger.event_json import body_to_json
    from ledger.registry import KINDS
    from ledger.times import format_time
    from ledger.trust_policy import parse_policy

    witnesses = len(parse_policy(policy).witnesses)
    event = verdict.event
    spec = KINDS.get(event.kind)
    row: dict[str, Any] = {
        "verified": True,
        "event_id": verdict.event_id.hex(),
        "outcome": {"applied": verdict.applied, "rule": verdict.rule or None, "detail": verdict.detail or None},
        "kind": spec.name if spec else event.kind,
        "member": verdict.member,
        "source": verdict.source.hex(),
        "chain_id": verdict.chain_id.hex(),
        "height": verdict.height,
        "time": format_time(verdict.time_ms),
        "log_size": verdict.log_size,
        "cosigners": list(verdict.cosigners),
        "cosigned": {
            "by": len(verdict.cosigners),
            "of": witnesses,
            "first": format_time(verdict.cosigned_first_s * 1_000),
            "last": format_time(verdict.cosigned_last_s * 1_000),
        },
        "body": body_to_json(event.kind, event.schema, event.body),
    }
    if settings().machine:
        show(row)
        return
    word = "applied" if verdict.applied else f"rejected ({verdict.rule}: {verdict.detail})"
    click.echo(f"verified: {row['kind']} of {verdict.member}, {word}, in block {verdict.height} of {row['time']}")
    click.echo(f"cosigned by {len(verdict.cosigners)} of {witnesses}: {join(verdict.cosigners)}")
    show({name: row[name] for name in ("event_id", "source", "chain_id", "log_size", "body")})


@click.group(cls=Group)
def policy() -> None:
    """What verifying needs to know: log keys, cosigners, quorum."""


@policy.command()
@click.option("-f", "--file", "target", type=click.Path(path_type=Path), help="Write it here. [default: stdout]")
@click.option("--genesis", type=click.Path(path_type=Path), help="Make it from this genesis, asking no node.")
def export(target: Path | None, genesis: Path | None) -> None:
    """Export the policy of the present validators, in C2SP's tlog-policy form.

    Get it from somebody whom you trust, once: what is verified is only as good as the policy.
    """
    if genesis is not None:
        from chainnode.founding import read_genesis
        from ledger.genesis import validator_set
        from ledger.trust_policy import policy_text

        chain = read_genesis(genesis)
        text = policy_text(chain, validator_set(chain))
    else:
        text = settings().client().get("/policy").decode()
    if target is None:
        click.echo(text, nl=False)
        return
    from chainnode.files import write_file

    write_file(target, text.encode())
    say(f"policy written to {target}")
