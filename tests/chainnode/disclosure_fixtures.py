"""A bank that stated payments of sample messages on a chain, what it keeps of them, and an auditor that asks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from chainnode.disclosing import Granted
from chainnode.ingest.agreement import public_of
from chainnode.ingest.context import make_context
from chainnode.ingest.formats import ingest
from chainnode.payloads import Keeper
from chainnode.private_store import PrivateStore
from ledger.disclosure_bodies import LegalBasis, PrivateFieldName, RequestDisclosure
from ledger.events import TIME_MS_MAX, Event
from ledger.genesis import Genesis
from ledger.receipts import make_receipt
from tests.chainnode.ingest.ingest_fixtures import CODES, sample
from tests.ledger.certifying_fixtures import Certifying
from tests.ledger.governance_fixtures import bank
from tests.ledger.payment_council import AUDITOR, Paying

SECRET_KEY = bytes(range(32))
KEY = public_of(SECRET_KEY)
DAY_MS = 86_400_000
NAMES = {"bank-a": bank(0), "bank-b": bank(1), "switch": bank(3)}
ALL = tuple(PrivateFieldName)
AMOUNT, DEBTOR, SOURCE = PrivateFieldName.AMOUNT, PrivateFieldName.DEBTOR_NAME, PrivateFieldName.SOURCE


@dataclass
class PayingCertified(Certifying):
    """A council that certifies checkpoints, with the members that payments need."""

    rules: tuple[int, ...] = (1, 2, 3, 4)

    def founded(self) -> Genesis:
        return Paying.founded(Paying())


class Disclosing:
    """The first bank's payments of sample messages, on the chain and in its private store."""

    def __init__(self, folder: Path, *names: str) -> None:
        self.council = PayingCertified()
        self.folder = folder
        self.ids: list[bytes] = []
        for name in names or ("01", "02"):
            self.ids += self.state(sample(name))

    def state(self, data: bytes) -> list[bytes]:
        """State the payments of a file, and return the events' ids."""
        codes = {code: NAMES.get(member, member) for code, member in CODES.items()}
        with Keeper(self.folder) as keeper:
            context = make_context(bank(0), codes, b"r" * 32, {}, event_key_of=keeper.event_key_of)
            drafts = ingest(data, context, where="file").drafts
            keeper.keep(bank(0), drafts, data)
        events = [
            Event(bank(0), each.reference or b"", TIME_MS_MAX, each.kind, each.schema, each.body) for each in drafts
        ]
        result = self.council.batches((bank(0), events))
        assert all(outcome.applied for outcome in result.outcomes)
        return [bytes(each) for each in result.event_ids]

    def ask(self, member: str = AUDITOR, **changes: Any) -> bytes:
        """Ask for fields of all events, and return the request's id."""
        body = RequestDisclosure(
            reporter=bank(0),
            events=tuple(sorted(self.ids)),
            fields=(AMOUNT, DEBTOR),
            payload=False,
            basis=LegalBasis.AUDIT_MANDATE,
            document=bytes(32),
            until_ms=self.council.now_ms + DAY_MS,
            key=KEY,
        )
        result = self.council.block((member, replace(body, **changes)))
        assert result.outcomes[0].applied, result.outcomes[0]
        return bytes(result.event_ids[0])

    def receipt(self, event_id: bytes) -> str:
        """Return an event's receipt under a checkpoint of the tip."""
        self.council.stable()
        found = make_receipt(self.council.reader, event_id)
        assert found is not None
        return found

    def granted(self, *ids: bytes) -> list[Granted]:
        """Return what is kept of events, with their receipts."""
        with PrivateStore(self.folder) as store:
            return [Granted(self.receipt(each), store.content(each)) for each in ids or self.ids]
