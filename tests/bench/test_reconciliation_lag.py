"""The load under which the index of reconciliation is measured: payments that both banks tell alike."""

from __future__ import annotations

from bench.reconciliation_lag import batch_of
from bench.workload import BATCH_EVENTS, BenchSource
from ledger.events import Event
from ledger.payments import PaymentStatement, check_statement
from ledger.reconciliation import Said, Standing, reconcile
from ledger.reconciliation_statements import said_of
from primitives.encoding import decoder_of
from primitives.keys import SigningKey

OTHER = {"bank-a": "bank-b", "bank-b": "bank-a"}


def test_two_sources_tell_the_two_sides_of_the_same_payments_and_no_two_batches_the_same_ones() -> None:
    told: dict[bytes, list[Said]] = {}
    for bank in OTHER:
        source = BenchSource(bytes(32), bank, SigningKey(bank.encode().ljust(32, b"\0")))
        for twin, number in ((0, 0), (0, 1), (1, 0)):
            for index, raw in enumerate(batch_of(source, twin, number)):
                body = decoder_of(PaymentStatement).decode(decoder_of(Event).decode(raw).body)
                check_statement(body)
                told.setdefault(body.pair_key, []).append(said_of(body, bank, OTHER[bank], len(told), index, 1))
    assert len(told) == 3 * BATCH_EVENTS
    for said in told.values():
        (view,) = reconcile(said, 1)
        assert (view.parties, view.state) == (("bank-a", "bank-b"), Standing.MATCHED)
