"""`chainnode validator` and `chainnode rules`: how the members change their validators and the rules of the chain.

A proposal and a vote are events of a member: --home sends them through its node, --as KEYFILE with a key of its own. A
vote is also signed by one of the member's officers (--officer), whose key need not be near any node.
"""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chainnode.cli.context import hash_of, settings
from chainnode.cli.main import Group
from chainnode.cli.output import records, say, show, show_rows
from chainnode.cli.submit import open_door, send_all, timeout_option, wait_option

if TYPE_CHECKING:
    from chainnode.client import NodeClient
    from chainnode.identity import KeyFile
    from primitives.encoding import Record

DAY_MS = 86_400_000
COLUMNS = ("index", "name", "member", "leader", "up", "votes", "vote_key")
PROPOSAL_COLUMNS = ("id", "stage", "what", "approvals", "needed", "rejections", "waits_for", "expires")

dry_run_option = click.option("--dry-run", is_flag=True, help="Say what it would do, and send nothing.")
force_option = click.option("--force", is_flag=True, help="Send it although too few validators are up.")
days_option = click.option(
    "--days", type=click.FloatRange(0.001, 30), default=7.0, show_default=True, help="How long it waits for votes."
)
officer_option = click.option(
    "--officer",
    type=click.Path(path_type=Path),
    required=True,
    metavar="KEYFILE",
    help="Key of the member's officer for governance, which signs the vote.",
)


@click.group(cls=Group)
def validator() -> None:
    """Validators: list them; propose, approve and reject changes; what a joining node brings."""


@click.group(cls=Group)
def rules() -> None:
    """The version of the rules that blocks follow: show it, propose another from a height on."""


# --- reading


@validator.command("list")
def list_() -> None:
    """Show the validators, which of them are up and say that they vote, and the proposals under way."""
    client = settings().client()
    found = client.call("net_validators")
    status = client.call("net_status")
    peers = {peer["name"]: peer for peer in client.call("net_peers")["peers"] if peer["connected"]}
    votes = {**{name: peer["votes"] for name, peer in peers.items()}, status["node"]: status["role"] == "validator"}
    rows = [{**row, "up": row["name"] in votes, "votes": bool(votes.get(row["name"]))} for row in found["validators"]]
    if settings().machine:
        show({**found, "validators": rows})
        return
    say(f"epoch {found['epoch']}: {found['n']} validators, {found['f']} may be faulty, {found['quorum']} decide")
    show_rows(rows, columns=COLUMNS, wrap="validators")
    if found["proposals"]:
        _show_proposals(found["proposals"])


@validator.command()
@click.argument("proposal", required=False)
def status(proposal: str | None) -> None:
    """Show PROPOSAL with its votes, or all that are under way."""
    client = settings().client()
    if proposal is not None:
        show(client.call("gov_getProposal", id=hash_of(proposal, "a proposal's id"))["proposal"])
        return
    _show_proposals(client.pages("gov_listProposals", "proposals"))


def _show_proposals(proposals: list[dict[str, Any]]) -> None:
    from ledger.governance_actions import sentence_of

    rows = [
        {
            **row,
            "what": sentence_of(row["action"]),
            "approvals": ", ".join(row["approvals"]) or "none",
            "needed": row["votes_needed"],
            "rejections": ", ".join(row["rejections"]) or "none",
        }
        for row in proposals
    ]
    show_rows(rows, columns=PROPOSAL_COLUMNS, wrap="proposals")


# --- what a node brings


@validator.command()
@click.option("--address", help="Where peers find the node. [default: p2p.listen of its settings]")
def entry(address: str | None) -> None:
    """Write config/validator.json of --home: its public keys with their proofs, for `propose add` and `rekey`."""
    from chainnode.files import write_file
    from chainnode.joining import entry_path, validator_entry

    home = settings().require_home()
    home.check()
    config = settings().load_config(home).config
    made = validator_entry(home, name=config.node.name, member=config.node.member, address=address or config.p2p.listen)
    path = entry_path(home)
    write_file(path, json.dumps(made, indent=2).encode() + b"\n")
    say(f"written to {path}; propose it with `chainnode validator propose add` or `rekey`")
    show({"file": str(path), "name": made["name"], "member": made["member"], "address": made["address"]})


@validator.command("renew-keys")
def renew_keys() -> None:
    """Put the keys of the stopped node of --home away and make new ones, with an empty write-ahead log."""
    from chainnode.files import write_file
    from chainnode.joining import entry_path, validator_entry
    from chainnode.joining import renew_keys as renew

    home = settings().require_home()
    home.check()
    node = settings().load_config(home).config.node
    retired = renew(home, node.member)
    path = entry_path(home)  # with no address: the one that the chain has stays
    made = validator_entry(home, name=node.name, member=node.member, address="")
    write_file(path, json.dumps(made, indent=2).encode() + b"\n")
    say(f"the used keys lie in {retired}; start the node, then have `validator propose rekey {path}` approved")
    show({"home": str(home.root), "retired": str(retired), "file": str(path)})


# --- proposing


@validator.group(cls=Group)
def propose() -> None:
    """Propose a change of the validators; refused at the door where too few of the next ones would be up."""


def proposing(command: Any) -> Any:  # Any: click's decorators are untyped
    """Give a command the options of all proposals."""
    for option in (timeout_option, wait_option, days_option, force_option, dry_run_option):
        command = option(command)
    return command


@propose.command()
@click.argument("file", type=click.Path(path_type=Path))
@proposing
def add(file: Path, dry_run: bool, force: bool, days: float, wait: str, timeout_s: float) -> int:
    """Propose the node of FILE (its config/validator.json) as a validator."""
    from chainnode.joining import read_validator_entry

    action = {"type": "add_validator", **read_validator_entry(file)}
    return propose_action(action, dry_run=dry_run, force=force, days=days, wait=wait, timeout_s=timeout_s)


@propose.command()
@click.argument("file", type=click.Path(path_type=Path))
@proposing
def rekey(file: Path, dry_run: bool, force: bool, days: float, wait: str, timeout_s: float) -> int:
    """Propose the new keys of FILE for the validator of that name, such as one that lost its disk."""
    from chainnode.joining import read_validator_entry

    found = read_validator_entry(file)
    action = {"type": "rekey_validator", **{key: found[key] for key in ("name", "keys", "address")}}
    return propose_action(action, dry_run=dry_run, force=force, days=days, wait=wait, timeout_s=timeout_s)


@propose.command()
@click.argument("name")
@click.option("--fewer-faults", is_flag=True, help="Although the chain will bear fewer faulty validators.")
@proposing
def remove(name: str, fewer_faults: bool, dry_run: bool, force: bool, days: float, wait: str, timeout_s: float) -> int:
    """Propose that validator NAME leaves."""
    action = {"type": "remove_validator", "name": name, "fewer_faults": fewer_faults}
    return propose_action(action, dry_run=dry_run, force=force, days=days, wait=wait, timeout_s=timeout_s)


@rules.command("propose")
@click.argument("version", type=click.IntRange(1))
@click.option("--at", "height", type=click.IntRange(1), required=True, help="The first height with these rules.")
@proposing
def propose_rules(
    version: int, height: int, dry_run: bool, force: bool, days: float, wait: str, timeout_s: float
) -> int:
    """Propose that blocks from a height on follow VERSION of the rules. Upgrade the nodes before that height."""
    action = {"type": "activate_rules", "version": version, "height": height}
    return propose_action(action, dry_run=dry_run, force=force, days=days, wait=wait, timeout_s=timeout_s)


@rules.command("status")
def rules_status() -> None:
    """Show the version that the newest block follows, what this release knows, and proposals of others."""
    from ledger.rules import RULES_SUPPORTED

    client = settings().client()
    newest = client.call("ledger_getBlock")
    under_way = client.pages("gov_listProposals", "proposals")
    show(
        {
            "height": newest["header"]["height"],
            "version": newest["header"]["version"],
            "this_release_knows": ", ".join(map(str, RULES_SUPPORTED)),
            "proposals": [row["id"] for row in under_way if row["action"]["type"] == "activate_rules"],
        }
    )


def propose_action(
    action: dict[str, Any], *, dry_run: bool, force: bool, days: float, wait: str, timeout_s: float
) -> int:
    """Ask whether the chain and the nodes would bear an action, and propose it; return the exit status."""
    from chainnode.joining import check_release, check_rules
    from ledger.governance_actions import proposing_body, sentence_of

    client = settings().client(timeout_s=timeout_s, token=not dry_run)
    check = client.call("gov_checkAction", action=action)
    check_rules(check)
    tell_check(check)
    check_live(client, check, action, force=force)
    if not force:
        check_release(client, action)
    if dry_run:
        show(
            {"would_send": sentence_of(action), **check} if settings().machine else f"would send: {sentence_of(action)}"
        )
        return 0
    body = proposing_body(action, time.time_ns() // 1_000_000 + int(days * DAY_MS), where="proposal")
    return send_event(client, body, f"proposal to {sentence_of(action)}", wait, timeout_s)


def tell_check(check: dict[str, Any]) -> None:
    """Say what an action would do: the quorum before and after, who is up, what changes, what to know of it.

    To stderr, but on stdout with `--dry-run` that is all there is to see; programs get it as JSON.
    """
    from chainnode.consequences import sentences

    for line in sentences(check):
        say(line)


def check_live(client: NodeClient, check: dict[str, Any], action: dict[str, Any], *, force: bool) -> None:
    """Say how many of the next validators are up; raise `UnsafeChange` where order would stop, but with `force`."""
    from chainnode.joining import OUTLOOK_WITHIN_S, check_outlook, outlook

    joins = action["type"] in ("add_validator", "rekey_validator")
    found = outlook(client, check, [action["name"]] if joins else [], within_s=OUTLOOK_WITHIN_S)
    if found is not None:
        say(found.sentence())
    if not force:
        check_outlook(found)


# --- voting


@validator.command()
@click.argument("proposal")
@officer_option
@dry_run_option
@force_option
@wait_option
@timeout_option
def approve(proposal: str, officer: Path, dry_run: bool, force: bool, wait: str, timeout_s: float) -> int:
    """Vote for PROPOSAL, whatever it is about; says first what it would do, and asks for --force where order stops."""
    from chainnode.identity import read_key
    from chainnode.joining import check_ca_of, check_release, check_rules

    key = read_key(officer, "officer")
    found = _asked_for(proposal, timeout_s, token=not dry_run)
    if not force:
        check_release(found.client, found.action)
    check_ca_of(found.client, found.action)
    check = found.client.call("gov_checkAction", action=found.action)
    if not force:
        check_rules(check, "a vote that decides ends the proposal as failed; vote all the same with --force")
    tell_check(check)
    check_live(found.client, check, found.action, force=force)
    if dry_run:
        what = found.what(approve=True)
        show({"would_vote": what, **check} if settings().machine else f"would vote {what}")
        return 0
    return _vote(found, key, approve=True, wait=wait, timeout_s=timeout_s)


@validator.command()
@click.argument("proposal")
@officer_option
@wait_option
@timeout_option
def reject(proposal: str, officer: Path, wait: str, timeout_s: float) -> int:
    """Vote against PROPOSAL."""
    from chainnode.identity import read_key

    key = read_key(officer, "officer")
    return _vote(_asked_for(proposal, timeout_s), key, approve=False, wait=wait, timeout_s=timeout_s)


@validator.command()
@click.argument("proposal")
@wait_option
@timeout_option
def withdraw(proposal: str, wait: str, timeout_s: float) -> int:
    """Take PROPOSAL back; only the member that made it can."""
    from ledger.governance_bodies import Withdraw

    body = Withdraw(bytes.fromhex(hash_of(proposal, "a proposal's id")))
    client = settings().client(timeout_s=timeout_s, token=True)
    return send_event(client, body, "withdrawal", wait, timeout_s)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A proposal that a vote is about, and the node that told of it."""

    client: NodeClient
    id: bytes
    member: str
    action: dict[str, Any]

    def what(self, *, approve: bool) -> str:
        from ledger.governance_actions import sentence_of

        return f"{'for' if approve else 'against'}: {sentence_of(self.action)}, proposed by {self.member}"


def _asked_for(proposal: str, timeout_s: float, *, token: bool = True) -> _Asked:
    proposal_id = hash_of(proposal, "a proposal's id")
    client = settings().client(timeout_s=timeout_s, token=token)
    found = client.call("gov_getProposal", id=proposal_id)["proposal"]
    return _Asked(client, bytes.fromhex(proposal_id), found["member"], found["action"])


def _vote(found: _Asked, key: KeyFile, *, approve: bool, wait: str, timeout_s: float) -> int:
    from ledger.governance_bodies import CastVote, vote_statement
    from primitives.ids import Hash

    say(found.what(approve=approve))
    chain_id = Hash(bytes.fromhex(found.client.call("net_status")["chain_id"]))
    signature = key.signing_key.sign(vote_statement(chain_id, found.id, approve))
    return send_event(found.client, CastVote(found.id, approve, key.source, signature), "vote", wait, timeout_s)


def send_event(client: NodeClient, body: Record, what: str, wait: str, timeout_s: float) -> int:
    """Submit one event of governance; status 1 unless it was applied."""
    from chainnode.submission import NewEvent
    from ledger.governance import KIND_OF, SCHEMA
    from primitives.encoding import encode

    # Chosen here, so that a call that is sent twice is one event.
    event = NewEvent(KIND_OF[type(body)], SCHEMA, encode(body), what, reference=secrets.token_bytes(16))
    with records(None) as out, open_door(client) as door:
        return send_all(client, door, [event], out, wait=wait, timeout_s=timeout_s)
