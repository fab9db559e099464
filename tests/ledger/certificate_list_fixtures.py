"""A chain of very different certificates that change from block to block, its index, and what every block left.

One kind of event of its own puts a certificate's record into the state as it stands there: lists must be right for
whatever the state holds, however it came about.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime

from msgspec.structs import replace

from ledger.batches import ParsedBatch, build_batch, parse_batch
from ledger.certificate_bodies import Product
from ledger.certificate_index import folded
from ledger.certificate_reading import Found
from ledger.certificate_records import (
    NO_HISTORY,
    Certificate,
    Revocation,
    State,
    Suspension,
    certificate_key,
    status_at,
)
from ledger.certificate_search import Filters
from ledger.chain import Chain
from ledger.index_places import Index
from ledger.index_reader import IndexReader
from ledger.indexes import IndexFollower
from ledger.kinds import ApplyContext, KindSpec, assemble
from ledger.reader import LedgerReader
from ledger.registry import KINDS
from ledger.scheme_records import CertificateScheme, certificate_scheme_key, empty_certificate_scheme
from ledger.state import Transaction
from ledger.store import MemoryStore
from primitives.encoding import Record
from primitives.ids import TimeMs
from tests.ledger.chain_fixtures import START_MS, Bank, certificate_of, event, genesis

KEEP = 251
BLOCK_MS = 3_600_000
DAY_MS = 86_400_000
HOLDER_IDS = ("91110000600037341L", "HWUPKR0MPOU8FGXBT394", "")
NAMES = (
    "Bank A",
    "bank b",
    "北京支付有限公司",
    "上海ＰＯＳ公司",
    "Straße & Söhne",
    "=cmd|' /C calc'!A0",
    '<b>"Bank"</b>, Ltd',
)
PRODUCTS = (
    Product("Counter terminal", "CT-1", "2.0"),
    Product("支付终端", "型号-7", "1.0"),
    Product("+SUM(1)", "@x", "-1"),
    Product("TERMINAL \N{LATIN CAPITAL LETTER O WITH DIAERESIS}", "ＣＴ-9", "2.0 beta"),
)


class Keep(Record):
    """Puts a certificate, with what stands beside it where that is kept at all."""

    certificate: Certificate
    scheme: CertificateScheme | None


def _keep(context: ApplyContext, state: Transaction, body: Keep) -> None:
    number = body.certificate.number
    history = replace(body.certificate.history, changed_ms=context.time_ms)
    state.put(certificate_key(number), replace(body.certificate, history=history))
    if body.scheme is not None:
        state.put(certificate_scheme_key(number), body.scheme)


ALL_KINDS = assemble(tuple(KINDS.values()), (KindSpec(KEEP, "test.keep", {1: Keep}, changes_state=True, apply=_keep),))


@dataclass
class Register:
    """The chain, its index, and by height what the certificates were."""

    seed: int = 1
    kept: list[dict[str, Found]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.genesis = genesis()
        self.store = MemoryStore()
        self.chain = Chain(self.store, self.genesis, ALL_KINDS)
        self.reader = LedgerReader(self.store, self.genesis)
        self.bank = Bank("bank-a", self.genesis.chain_id)
        self.places = Index(MemoryStore())
        self.follower = IndexFollower(self.places, self.reader)
        self.index = IndexReader(self.reader, self.places)
        self.kept.append({})

    def commit(self, *found: Found) -> None:
        """Commit a block that leaves certificates so; without any one that changes nothing."""
        batches = [self._batch(*found)] if found else []
        time_ms = TimeMs(self.chain.header.time_ms + BLOCK_MS)
        block = self.chain.build(self.chain.tip_hash, time_ms=time_ms, epoch=0, proposer=0, batches=batches)  # type: ignore[arg-type]  # a plain number
        result = self.chain.commit(block.header.hash(), certificate_of(block, self.genesis))
        assert all(outcome.applied for outcome in result.outcomes)
        self.store.write(result.puts, sync=True)
        self.chain.written(result.ticket)
        after = dict(self.kept[-1])
        for each in found:
            changed = replace(each.certificate, history=replace(each.certificate.history, changed_ms=time_ms))
            beside = each.scheme or self._beside(after, each.certificate.number)
            after[changed.number] = Found(changed, beside)
        self.kept.append(after)

    def _batch(self, *found: Found) -> ParsedBatch:
        expires_ms = self.chain.header.time_ms + BLOCK_MS + 1
        events = [event(Keep(*each), kind=KEEP, expires_ms=expires_ms, reference=self._next()) for each in found]
        raw = build_batch(
            events,
            chain_id=self.genesis.chain_id,
            member=self.bank.name,
            key=self.bank.key,
            number=self.bank.number,
            previous=self.bank.previous,
            time_ms=TimeMs(START_MS),
        )
        batch = parse_batch(raw, ALL_KINDS)
        self.bank.number, self.bank.previous = self.bank.number + 1, batch.hash
        self.store.write(self.chain.add_batch(batch), sync=True)
        return batch

    def _next(self) -> int:
        self.bank.references += 1
        return self.bank.references

    @staticmethod
    def _beside(after: dict[str, Found], number: str) -> CertificateScheme:
        return after[number].scheme if number in after else empty_certificate_scheme(number)

    def grow(self, blocks: int) -> None:
        """Commit blocks that grant some certificates and change others."""
        for _ in range(blocks):
            now_ms = self.chain.header.time_ms + BLOCK_MS
            present = list(self.kept[-1].values())
            changed = {each.certificate.number: self.changed(each, now_ms) for each in self._some(present)}
            granted = [self.granted(now_ms) for _ in range(self.chance.randrange(4))]
            new = {each.certificate.number: each for each in granted if each.certificate.number not in self.kept[-1]}
            if changed or new:
                self.commit(*changed.values(), *new.values())
            if self.chance.random() < 0.5:
                self.follow()
        self.follow()

    def follow(self) -> None:
        """Bring the index up."""
        while self.follower.follow():
            pass

    def _some(self, present: list[Found]) -> list[Found]:
        return self.chance.sample(present, min(len(present), self.chance.randrange(4)))

    def granted(self, now_ms: int) -> Found:
        """Return a new certificate."""
        chance = self.chance
        category = chance.choice((1, 6, 6, 9, 12))
        year = chance.choice((2025, 2026))
        number = f"{chance.choice(('FTP', 'FTPX'))}-{year}-{category:02d}-{chance.randrange(10_000):06d}"
        from_ms = now_ms + chance.randrange(-400, 20) * DAY_MS
        holder = chance.choice(("bank-a", "bank-b", "vendor"))
        certificate = Certificate(
            number=number,
            application=f"{holder}.{chance.randrange(1 << 30)}",
            holder=holder,
            holder_name=chance.choice(NAMES),
            product=chance.choice(PRODUCTS),
            category=category,
            catalogue=chance.choice((1, 2)),
            body="cb",
            state=State.ACTIVE,
            since_ms=now_ms,
            version=1,
            valid_from_ms=from_ms,
            valid_until_ms=from_ms + chance.choice((30, 300, 401, 1_095)) * DAY_MS,
            suspension=None,
            revocation=None,
            predecessor=None,
            successor=None,
            evidence=(),
            corrections=(),
            appeal_until_ms=None,
            history=NO_HISTORY,
        )
        beside = replace(
            empty_certificate_scheme(number), holder_id=chance.choice(HOLDER_IDS), scope=("=contact", "接触式")
        )
        return Found(certificate, chance.choice((beside, None)))  # type: ignore[arg-type]  # of earlier rules: none

    def changed(self, found: Found, now_ms: int) -> Found:
        """Return a certificate in another state."""
        state = self.chance.choice((State.ACTIVE, State.SUSPENDED, State.REVOKED, State.CANCELLED))
        suspension = Suspension("reason", now_ms, now_ms + 10 * BLOCK_MS) if state is State.SUSPENDED else None
        begin_ms = now_ms - self.chance.randrange(5) * BLOCK_MS
        revocation = Revocation("=reason", "cb", begin_ms) if state is State.REVOKED else None
        after = replace(found.certificate, state=state, since_ms=now_ms, suspension=suspension, revocation=revocation)
        return Found(after, found.scheme)


def naive(register: Register, filters: Filters, height: int, time_ms: int) -> list[str]:
    """Return the numbers of what fits, each certificate of then held against every filter, one by one."""
    return sorted(number for number, found in register.kept[height].items() if _fits(found, filters, time_ms))


def _fits(found: Found, filters: Filters, time_ms: int) -> bool:
    certificate, product = found.certificate, found.certificate.product
    if not certificate.number.startswith(filters.number):
        return False
    whole = f"{product.name} {product.model} {product.version}"
    equal = (
        (filters.holder, certificate.holder),
        (filters.holder_id, found.scheme.holder_id),
        (filters.category, certificate.category),
        (filters.catalogue, certificate.catalogue),
        (filters.status, status_at(certificate, time_ms).status),
    )
    within = ((filters.holder_name, certificate.holder_name), (filters.product, whole))
    spans = (
        (filters.granted_from_ms, filters.granted_to_ms, certificate.valid_from_ms),
        (filters.until_from_ms, filters.until_to_ms, certificate.valid_until_ms),
    )
    return (
        all(asked is None or asked == has for asked, has in equal)
        and all(asked is None or folded(asked) in folded(has) for asked, has in within)
        and all((low is None or low <= at) and (high is None or at <= high) for low, high, at in spans)
    )


def day_of(time_ms: int) -> str:
    """Return the day of a time in UTC."""
    return datetime.fromtimestamp(time_ms / 1_000, UTC).date().isoformat()
