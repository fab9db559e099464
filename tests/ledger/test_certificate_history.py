"""The whole history of a certificate: every list but the true one is refused."""

from __future__ import annotations

import pytest

from ledger.certificate_history import verify_certificate_history
from ledger.certificate_history_reading import make_certificate_history
from tests.ledger.certificate_fixtures import NUMBER, State
from tests.ledger.certifying_fixtures import Certifying


@pytest.fixture(scope="module")
def lived() -> tuple[Certifying, list[bytes]]:
    """A certificate that was granted and suspended, and the ids of its events."""
    chain = Certifying()
    ids = chain.bring_to(State.SUSPENDED)
    chain.stable()
    return chain, [bytes(item) for item in ids]


def test_a_history_shows_all_events_of_a_certificate_in_their_order(lived: tuple[Certifying, list[bytes]]) -> None:
    chain, ids = lived
    page = make_certificate_history(chain.reader, NUMBER, chain.chain.height)
    assert page is not None
    assert page.next is None
    verdict = verify_certificate_history(page.proof, chain.policy(), NUMBER)
    assert [event.event_id for event in verdict.events] == ids
    assert verdict.count == len(ids) == 7
