"""`evidence list|show|verify`: statements that contradict each other, as the chain has them, and checked offline."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from chainnode.cli.context import event_id_of, settings
from chainnode.cli.main import Group
from chainnode.cli.output import line, say, show, show_verdict
from chainnode.cli.proofs import file_text, refused
from primitives.errors import InputError, ProofError, UsageError

if TYPE_CHECKING:
    from ledger.evidence_bodies import EvidenceBody
    from ledger.genesis import Genesis
    from ledger.receipts import Verdict

PAGE: int = 100
BRACKETS_MAX: int = 4_000_000
"""Of a proof: a few for each signature in it; the decoder's own limit on nesting holds."""


@click.group(cls=Group)
def evidence() -> None:
    """Two signed statements of one key that contradict each other."""


@evidence.command("list")
@click.option(
    "--order", type=click.Choice(["asc", "desc"]), default="desc", show_default=True, help="Newest last, or first."
)
@click.option("--limit", type=click.IntRange(1), help="At most so many. [default: all]")
def list_(order: str, limit: int | None) -> None:
    """List the evidence that is recorded on the chain, one line each."""
    if settings().output == "json":
        show({"evidence": list(_listed(order, limit))})
        return
    for row in _listed(order, limit):
        accused = row["accused"]
        name = accused["validator"] or f"source {accused['source'][:16]}"
        place = f"{row['height']:>8}  {row['time']}  {row['kind']:<22}"
        line(row, f"{place}{name} of {accused['member']}  {row['event_id']}")


def _listed(order: str, limit: int | None) -> Iterator[dict[str, Any]]:
    """Yield what the node lists, page by page."""
    client, count = settings().client(), 0
    page: dict[str, Any] = {"order": order}
    while limit is None or count < limit:
        found = client.call("net_evidence", limit=min(PAGE, PAGE if limit is None else limit - count), **page)
        yield from found["evidence"]
        count += len(found["evidence"])
        if not found["cursor"]:
            return
        page["cursor"] = found["cursor"]


@evidence.command("show")
@click.argument("event_id")
@click.option("--proof", "target", type=click.Path(path_type=Path), help="Write its proof here, for those who verify.")
def show_(event_id: str, target: Path | None) -> None:
    """Show the evidence of event EVENT_ID: whom it names, and both statements with what was signed.

    With --proof it also goes to a file that whoever has the genesis can verify offline, trusting no node.
    """
    client, named = settings().client(), event_id_of(event_id)
    (found,) = client.call("net_evidence", event_id=named)["evidence"]
    if target is not None:
        from chainnode.files import write_file

        proof = client.call("net_evidenceProof", event_id=named)["proof"]
        write_file(target, json.dumps(proof, indent=1, ensure_ascii=False).encode() + b"\n")
        command = f"chainnode evidence verify {quote(str(target))} --genesis GENESIS"
        say(f"proof written to {target}; verify it with `{command}`")
    show(found)


@evidence.command("verify")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--policy", "policy_file", type=click.Path(path_type=Path), help="The trusted policy, for a receipt.")
@click.option("--genesis", "genesis_file", type=click.Path(path_type=Path), help="The trusted genesis, for a proof.")
def verify(file: Path, policy_file: Path | None, genesis_file: Path | None) -> None:
    """Verify evidence offline, with nothing but what you trust already. Status 3 if it fails.

    FILE is a proof that `chainnode evidence show --proof` wrote: under --genesis alone both signatures are verified
    here, whatever the epoch of the accused key, and that the chain recorded them.

    Or it is the receipt that `chainnode prove` wrote of the event: it must hold under --policy, the event must be
    applied, and both statements must contradict each other. Both signatures are verified here where the accused key is
    at hand: a source's is in its batches, a cosigning key in the policy, a voting key of epoch 0 in --genesis. Of other
    keys the quorum's outcome says so, and `checked` tells.
    """
    from chainnode.founding import read_genesis

    text = file_text(file)
    is_proof = text.lstrip()[:1] == "{"
    if is_proof and genesis_file is None:
        raise UsageError("a proof is verified under the genesis", expected="--genesis GENESIS")
    if not is_proof and policy_file is None:
        raise UsageError("a receipt is verified under a policy", expected="--policy POLICY")
    policy = "" if policy_file is None else file_text(policy_file)
    genesis = None if genesis_file is None else read_genesis(genesis_file)
    try:
        row = _proved(text, genesis) if is_proof and genesis is not None else _verified(text, policy, genesis)
    except InputError as error:
        raise refused(str(file), error, "do not rely on it") from None
    if settings().machine:
        show(row)
        return
    show_verdict(row.pop("sentence"))
    show({name: value for name, value in row.items() if name != "verified"})


def _proved(text: str, genesis: Genesis) -> dict[str, Any]:
    """Return what a proof of evidence proves under a genesis; InputError where it does not."""
    from chainnode.ingest.json_text import parse_object
    from ledger.evidence_proofs import PROOF_SIZE_MAX, proof_from_json, verify_evidence_proof
    from ledger.registry import KINDS

    value = parse_object(text.encode(), where="proof", size_max=PROOF_SIZE_MAX, brackets_max=BRACKETS_MAX)
    verdict = verify_evidence_proof(proof_from_json(value), genesis)
    accused = verdict.accused
    name = accused.name or f"source {accused.key.hex()[:16]}"
    return {
        "verified": True,
        "sentence": f"{KINDS[verdict.kind].name}: {name} of {accused.member} contradicted itself",
        "event_id": verdict.event_id.hex(),
        "height": verdict.height,
        "epoch": verdict.epoch,
        "reporter": verdict.reporter,
        "accused": accused.name or None,
        "member": accused.member,
        "accused_key": accused.key.hex(),
        "checked": "both signatures, here, and that the chain recorded them",
    }


def _verified(text: str, policy: str, genesis: Genesis | None) -> dict[str, Any]:
    """Return what a receipt of evidence proves; ProofError where it does not."""
    from ledger.evidence_bodies import TYPES, BatchesEvidence, check_contradiction
    from ledger.kinds import RuleBroken
    from ledger.receipts import verify as verify_receipt
    from ledger.registry import KINDS
    from primitives.encoding import decode

    verdict = verify_receipt(text, policy)
    type_ = TYPES.get(verdict.event.kind)
    if type_ is None:
        raise ProofError("not a receipt of evidence", expected="an event of kind 96 to 98", got=verdict.event.kind)
    if not verdict.applied:
        raise ProofError("the chain did not take it for evidence", expected="applied", got=verdict.rule)
    body: EvidenceBody = decode(type_, verdict.event.body, size_max=len(verdict.event.body))
    try:
        check_contradiction(body, verdict.chain_id)
        key = _accused_key(body, verdict, policy, genesis)
    except RuleBroken as broken:
        raise ProofError("not evidence", got=str(broken)) from None
    accused = "the source" if isinstance(body, BatchesEvidence) else f"validator {body.validator} of epoch {body.epoch}"
    return {
        "verified": True,
        "sentence": f"{KINDS[verdict.event.kind].name}: {accused} contradicted itself",
        "event_id": verdict.event_id.hex(),
        "height": verdict.height,
        "reporter": verdict.member,
        "accused_key": None if key is None else key.hex(),
        "checked": "both signatures, here" if key is not None else "both signatures, by the quorum that applied it",
    }


def _accused_key(body: EvidenceBody, verdict: Verdict, policy: str, genesis: Genesis | None) -> bytes | None:
    """Return the accused key, both signatures verified with it; None where no trusted file names it."""
    from ledger.evidence_bodies import BatchesEvidence, CosignaturesEvidence, check_evidence, signed_statements
    from ledger.genesis import validator_set
    from ledger.trust_policy import parse_policy
    from primitives.keys import verify as verify_ed25519

    key: bytes | None = None
    if isinstance(body, BatchesEvidence):
        key = body.first.header.source
    elif genesis is not None:
        if genesis.chain_id != verdict.chain_id:
            raise ProofError("genesis of another chain", expected=verdict.chain_id, got=genesis.chain_id)
        validators = validator_set(genesis)
        if body.epoch == validators.epoch:
            if body.validator >= validators.n:
                raise ProofError("no such validator", expected=f"an index below {validators.n}", got=body.validator)
            validator = validators.validators[body.validator]
            key = validator.cosign_key if isinstance(body, CosignaturesEvidence) else validator.vote_key
    if key is None and isinstance(body, CosignaturesEvidence):
        message, signature = signed_statements(body, verdict.chain_id)[0]
        known = (witness.public for witness in parse_policy(policy).witnesses.values())
        key = next((item for item in known if verify_ed25519(item, message, signature)), None)
    if key is not None:
        check_evidence(body, verdict.chain_id, key, verify_ed25519)
    return key
