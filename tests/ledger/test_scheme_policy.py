"""The scheme's policy: its defaults without a row, its bytes, and the ranges of its figures."""

from __future__ import annotations

import pytest

from ledger.scheme_policy import (
    SCHEME_POLICY_KEY,
    MarkUse,
    SchemePolicy,
    put_scheme_policy,
    read_scheme_policy,
    scheme_policy_figures,
)
from ledger.state import EmptyState, Transaction
from primitives.encoding import decode, encode
from primitives.errors import EncodingError


def test_a_chain_without_the_row_has_the_defaults() -> None:
    assert scheme_policy_figures(read_scheme_policy(Transaction(EmptyState()))) == {
        "surveillance_interval_months": 12,
        "mark_use": "strict",
        "correction_days_max": 90,
        "register_imports": "open",
        "inspection_window_s_min": 86_400,
    }


def test_what_was_written_is_read() -> None:
    state = Transaction(EmptyState())
    put_scheme_policy(state, SchemePolicy(6, MarkUse.NOTICE, 30))
    assert read_scheme_policy(state) == SchemePolicy(6, MarkUse.NOTICE, 30)
    assert state.raw(SCHEME_POLICY_KEY.encode()) == encode(SchemePolicy(6, MarkUse.NOTICE, 30))


@pytest.mark.parametrize(
    "policy",
    [
        SchemePolicy(surveillance_interval_months=0),
        SchemePolicy(surveillance_interval_months=121),
        SchemePolicy(correction_days_max=0),
        SchemePolicy(correction_days_max=1_001),
        SchemePolicy(inspection_window_s_min=0),
        SchemePolicy(inspection_window_s_min=30 * 86_400 + 1),
    ],
)
def test_a_figure_out_of_its_range_is_no_policy(policy: SchemePolicy) -> None:
    with pytest.raises(EncodingError):
        decode(SchemePolicy, encode(policy), size_max=100)
