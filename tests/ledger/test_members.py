"""Members, sources and the policy as the state holds them: what a key may do, whose a code is, which figures rule."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ledger.genesis import initial_state, validator_set
from ledger.members import (
    Member,
    Role,
    Source,
    member_key,
    member_of_agent,
    read_member,
    read_members,
    read_validators,
    source_grant,
    source_key,
    sources_of,
)
from ledger.policy import Policy, check_policy, policy_figures, policy_of, read_policy
from ledger.registry import KINDS
from ledger.state import MemoryState, StateView, Transaction
from primitives.encoding import decode, encode
from primitives.errors import EncodingError, InputError
from tests.ledger.genesis_fixtures import BANKS, OTHERS, public_key, small_genesis


def founded() -> StateView:
    """Return the state of the small genesis."""
    state = MemoryState()
    state.values.update(initial_state(small_genesis()))
    return StateView(state)


def change(view: StateView, member: str, **fields: object) -> None:
    """Set fields of a member's row."""
    record = read_member(view, member)
    assert record is not None
    rows = Transaction(view)
    rows.put(member_key(member), replace(record, **fields))
    rows.apply(view)


def test_a_source_acts_for_its_member_under_its_own_roles() -> None:
    grant = source_grant(founded(), public_key("cb reviewer"))
    assert grant is not None
    assert grant.member == "cb"
    assert grant.roles == grant.source_roles == {"certification_body"}


def test_an_unknown_key_may_do_nothing() -> None:
    assert source_grant(founded(), public_key("nobody")) is None
    assert source_grant(founded(), b"") is None


def test_the_sources_of_an_excluded_member_may_do_nothing() -> None:
    view = founded()
    change(view, "bank-a", excluded=True)
    assert source_grant(view, public_key("bank-a source")) is None
    assert source_grant(view, public_key("bank-b source")) is not None


def test_a_source_loses_a_role_with_its_member_and_never_has_more() -> None:
    view = founded()
    change(view, "bank-a", roles=(Role.VENDOR, Role.SWITCH))
    grant = source_grant(view, public_key("bank-a source"))
    assert grant is not None
    assert grant.roles == {"vendor", "switch"}
    assert not grant.source_roles


def test_a_source_without_its_member_may_do_nothing() -> None:
    view = founded()
    rows = Transaction(view)
    rows.put(source_key(public_key("stray")), Source("nobody", (Role.BANK,)))
    rows.apply(view)
    assert source_grant(view, public_key("stray")) is None


def test_members_and_their_sources_are_listed_in_order() -> None:
    view = founded()
    assert [member.id for member in read_members(view)] == sorted([*BANKS, *OTHERS])
    keys = [key for key, _ in sources_of(view, "cb")]
    assert keys == sorted([public_key("cb reviewer"), public_key("cb decider")])
    assert sources_of(view, "nobody") == []
    assert read_member(view, "nobody") is None


def test_the_validators_of_the_state_are_those_of_the_genesis() -> None:
    assert read_validators(founded()) == validator_set(small_genesis())


@pytest.mark.parametrize(
    ("agent", "member"),
    [("BKAACNBJ", "bank-a"), ("BKAACNBJXXX", "bank-a"), ("BKABCNBJ123", "bank-b"), ("NOBKCNBJ", None), ("", None)],
)
def test_a_code_is_answered_for_by_the_member_that_names_it_or_its_head_office(agent: str, member: str | None) -> None:
    found = member_of_agent(founded(), agent)
    assert (None if found is None else found.id) == member


def test_a_branch_of_its_own_goes_before_its_head_office() -> None:
    view = founded()
    change(view, "bank-d", agents=("BKAACNBJSHA",))
    found = member_of_agent(view, "BKAACNBJSHA")
    assert found is not None
    assert found.id == "bank-d"


def test_every_kind_needs_roles_that_exist() -> None:
    for spec in KINDS.values():
        assert spec.roles <= set(Role), spec.name


@pytest.mark.parametrize(
    "change_",
    [
        {"id": "Bank-A"},
        {"id": "-a"},
        {"id": "a" * 33},
        {"id": "bank-a\n"},
        {"id": ""},
        {"name": ""},
        {"name": "x" * 201},
        {"name": "two\nlines"},
        {"agents": ("BKAACNB",)},
        {"agents": ("12345678901",)},
        {"agents": ("BKAACNBJ\n",)},
        {"roles": ("king",)},
        {"ca_certificate": "x" * 16_385},
    ],
)
def test_a_malformed_member_is_not_decoded(change_: dict[str, object]) -> None:
    member = replace(Member("bank-a", "Bank A", (Role.BANK,), "", (), ()), **change_)
    with pytest.raises(EncodingError):
        decode(Member, encode(member), size_max=65_535)


# ---- policy


def test_the_defaults_are_the_documented_figures() -> None:
    assert policy_figures(Policy()) == {
        "block_bytes_max": 8 * 1024 * 1024,
        "block_events_max": 16_384,
        "block_batches_max": 256,
        "block_time_lag_ms_max": 10_000,
        "block_time_drift_ms_max": 2_000,
        "checkpoint_slot_ms": 200,
        "event_expiry_ahead_ms_max": 86_400_000,
        "certificate_validity_months_max": 36,
        "certificate_renewal_window_days": 180,
        "certificate_suspension_days_max": 180,
        "appeal_window_days": 60,
    }
    check_policy(Policy())
    assert read_policy(founded()) == Policy()


def test_figures_that_are_left_out_take_their_defaults() -> None:
    assert policy_of({"block_events_max": 10}) == Policy(block_events_max=10)
    assert policy_of(policy_figures(Policy(appeal_window_days=0))) == Policy(appeal_window_days=0)


@pytest.mark.parametrize("name", Policy.__struct_fields__)
def test_every_figure_has_a_range(name: str) -> None:
    for value in (-1, 2**63 - 1):
        with pytest.raises(InputError, match=f"policy.{name}: a figure of the policy: expected int"):
            policy_of({name: value})
        with pytest.raises(InputError, match="out of range"):
            check_policy(replace(Policy(), **{name: value}))


def test_an_unknown_figure_is_named_with_those_that_exist() -> None:
    with pytest.raises(InputError, match=r"policy.block_event_max: unknown figure: expected block_bytes_max, .*got bl"):
        policy_of({"block_event_max": 1})
