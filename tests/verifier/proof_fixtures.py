"""Proofs of every kind from chains that the product made, with the policies of each of their epochs."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

from ledger.certificate_bodies import Restore, Suspend
from ledger.certificate_records import certificate_key
from ledger.checkpoint_rows import checkpoint_rows
from ledger.handovers import first_span
from ledger.reader import LedgerReader
from ledger.receipts import make_receipt
from ledger.status_proofs import make_status_proof
from ledger.store import MemoryStore
from ledger.trust_policy import policy_text
from primitives.notes import COSIGNATURE_V1, NoteKey, cosign_statement, cosignature_line
from tests.ledger.certificate_fixtures import CORRECTION, NUMBER, State
from tests.ledger.certifying_fixtures import Certifying
from tests.ledger.chain_fixtures import SET, Ledger, Note, SetValue
from tests.ledger.governance_fixtures import key_of
from tests.ledger.test_receipts import stable

ABSENT = "FTP-2026-06-000999"
REGULATOR = NoteKey("regulator.example/witness", COSIGNATURE_V1, key_of("regulator", "witness").public)
AUDITOR = NoteKey("auditor.example/witness", COSIGNATURE_V1, key_of("auditor", "witness").public)


@dataclass
class Proofs:
    """Receipts, status proofs as (text, number, times to ask for) and policies by name."""

    receipts: list[str] = field(default_factory=list)
    statuses: list[tuple[str, str, tuple[int | None, ...]]] = field(default_factory=list)
    policies: dict[str, str] = field(default_factory=dict)


def witnessed(chain: Certifying, note: str) -> str:
    """Return a note with the cosignatures of two outside witnesses, and store it."""
    text = note.split("\n\n")[0] + "\n"
    time_s = chain.chain.header.time_ms // 1_000 + 3
    for name, key in (("regulator", REGULATOR), ("auditor", AUDITOR)):
        note += cosignature_line(key, time_s, key_of(name, "witness").sign(cosign_statement(text, time_s)))
    chain.store.write(checkpoint_rows(chain.store, note), sync=True)
    return note


def guarded(policy: str, epoch: int) -> str:
    """Return a policy that demands the validators and, of two outside witnesses in nested groups, one."""
    own = f"validators-of-epoch-{epoch}"
    return policy.replace(
        f"quorum {own}\n",
        f"witness regulator {REGULATOR.vkey()}\nwitness node-3@{epoch} {AUDITOR.vkey()} https://auditor.example/\n"
        f"group outside any regulator node-3@{epoch}\ngroup both all outside {own}\nquorum both\n",
    )


@cache
def life() -> Proofs:
    """Return the proofs of a certificate's life over three epochs: receipts of events, its status at many heights."""
    chain, made = Certifying(), Proofs()
    chain.bring_to(State.ACTIVE)
    chain.block(("cb/first", Suspend(ABSENT, "unknown", None, None)))
    chain.block(("cb/first", Suspend(NUMBER, "inspection_failed", None, 3)), ("cb/first", Restore(NUMBER, CORRECTION)))
    for epoch in range(3):
        if epoch:
            chain.next_epoch(epoch)
        chain.block(("cb/first", Restore(NUMBER, CORRECTION)))
        witnessed(chain, chain.stable(chain.chain.header.time_ms + 5_000 * epoch))
        policy = chain.policy(epoch)
        made.policies[f"epoch {epoch}"] = policy
        made.policies[f"guarded {epoch}"] = guarded(policy, epoch)
        made.policies[f"plain {epoch}"] = "\n".join(line for line in policy.split("\n") if line[:1] != "#")
        _add(made, chain.reader, chain.chain.height)
    made.policies["none"] = made.policies["plain 2"].replace("quorum validators-of-epoch-2", "quorum none")
    made.policies["late"] = "\n".join(line for line in policy.split("\n") if not line.startswith("#chainnode epoch 0"))
    made.policies["elsewhere"] = stretched().policies["own"]
    return made


def _add(made: Proofs, reader: LedgerReader, height: int) -> None:
    for at in range(1, height + 1):
        for view in reader.block_events(at) if at > height - 6 or at % 3 == 0 else ():
            receipt = make_receipt(reader, view.id)
            assert receipt is not None
            made.receipts.append(receipt)
    for at in [0, *range(4, height + 1, 5), height]:
        for number in (NUMBER, ABSENT):
            status = make_status_proof(reader, certificate_key(number), at)
            header = reader.header(at)
            assert status is not None
            assert header is not None
            asked = [header.time_ms + step for step in (-1, 0, 1, 9, 10, 11, 1_000, 5_000, 10_000, 10_001, 10**12)]
            made.statuses.append((status, number, (None, *asked)))


@cache
def stretched() -> Proofs:
    """Return receipts from blocks of many batches and events, some of them rejected."""
    ledger, made = Ledger(MemoryStore()), Proofs()
    a, b, c = (ledger.banks[name] for name in ("bank-a", "bank-b", "bank-c"))
    ledger.extend(a.notes(100), b.batch([b.event(SetValue("x", "1", fails=i % 2 == 0), SET) for i in range(40)]))
    ledger.extend(*(c.notes(1) for _ in range(9)))
    ledger.extend(b.batch([b.event(Note("付款 paid"))]))
    stable(ledger)
    reader = LedgerReader(ledger.store, ledger.genesis)
    for height in range(1, 4):
        for view in reader.block_events(height)[::3]:
            receipt = make_receipt(reader, view.id)
            assert receipt is not None
            made.receipts.append(receipt)
    made.policies["own"] = policy_text(ledger.genesis, (first_span(ledger.genesis),))
    made.policies["threshold"] = made.policies["own"].replace("epoch-0 3", "epoch-0 2")
    return made
