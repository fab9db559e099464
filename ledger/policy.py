"""The chain's policy: the figures that governance may change, each an integer with its unit in its name.

Here: names, defaults, admissible ranges and the row of the state. Not here: limits of format (sizes of events and
batches), which no vote can change, and local limits of a node, which never affect validity.
Sources: architecture §5 (block times, checkpoints) and §8; domain §3 for the certificates' figures marked "(policy)".
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from ledger.state import StateReader, StateView, Transaction
from primitives.encoding import Record, decode, encode
from primitives.errors import EncodingError, InputError

POLICY_KEY = "policy"
PLANNED_KEY = "policy-planned"
POLICY_SIZE_MAX = 4_096
FIGURES_MAX = 32
"""In one change of the policy."""

DAY_MS = 86_400_000
MIB = 1 << 20
BLOCK_BYTES_FLOOR = 128 * 1024
"""The largest event (64 KiB) in a batch of its own always fits a block."""


class Policy(Record):
    """The figures in force; they change only by an event, and a block is judged by those after its parent.

    Blocks: `block_bytes_max`, `block_events_max` and `block_batches_max` bound what one block may carry, at most what
    the messages of the protocol carry (`consensus.messages`, `consensus.verify`);
    `block_time_lag_ms_max` and `block_time_drift_ms_max` how far a fresh proposal's time may lie behind and ahead of a
    voter's clock; a block is a checkpoint where its time falls in a later slot of `checkpoint_slot_ms` than its
    parent's. Events: `event_expiry_ahead_ms_max` bounds how far after the block's time an event may expire, and
    thereby how long references are remembered. Certificates: the longest validity in calendar months, the days before
    its end in which a renewal may be applied for, the longest suspension, and the days to appeal a negative decision.
    A day is 86,400,000 ms.
    """

    block_bytes_max: Annotated[int, Meta(ge=BLOCK_BYTES_FLOOR, le=8 * MIB)] = 8 * MIB
    block_events_max: Annotated[int, Meta(ge=1, le=16_384)] = 16_384
    block_batches_max: Annotated[int, Meta(ge=1, le=256)] = 256
    block_time_lag_ms_max: Annotated[int, Meta(ge=100, le=600_000)] = 10_000
    block_time_drift_ms_max: Annotated[int, Meta(ge=100, le=600_000)] = 2_000
    checkpoint_slot_ms: Annotated[int, Meta(ge=10, le=60_000)] = 200
    event_expiry_ahead_ms_max: Annotated[int, Meta(ge=1_000, le=30 * DAY_MS)] = DAY_MS
    certificate_validity_months_max: Annotated[int, Meta(ge=1, le=120)] = 36
    certificate_renewal_window_days: Annotated[int, Meta(ge=1, le=1_000)] = 180
    certificate_suspension_days_max: Annotated[int, Meta(ge=1, le=1_000)] = 180
    appeal_window_days: Annotated[int, Meta(ge=0, le=1_000)] = 60


class PlannedPolicy(Record):
    """The row `policy-planned`: the policy by which blocks from `height` on are judged; absent where none follows."""

    policy: Policy
    height: int


def policy_range(name: str) -> tuple[int, int] | None:
    """Return the least and the greatest value that the format admits for a figure; None for a name that is none."""
    return _RANGES.get(name)


def _range_of(field: msgspec.structs.FieldInfo) -> tuple[int, int]:
    meta = next(item for item in field.type.__metadata__ if isinstance(item, Meta))
    assert isinstance(meta.ge, int), field.name
    assert isinstance(meta.le, int), field.name
    return meta.ge, meta.le


_RANGES = {field.name: _range_of(field) for field in msgspec.structs.fields(Policy)}


def read_planned(state: StateReader) -> PlannedPolicy | None:
    """Return the policy that is decided on and not in force yet, None where there is none."""
    return state.get(PLANNED_KEY, PlannedPolicy)


def plan_policy(state: Transaction, policy: Policy, height: int, now_height: int) -> None:
    """Write that blocks from `height` on, at the earliest the one after `now_height`, are judged by this policy."""
    if height <= now_height + 1:
        state.put(POLICY_KEY, policy)
    else:
        state.put(PLANNED_KEY, PlannedPolicy(policy, height))


def turn_policy(view: StateView, height: int) -> None:
    """In the block at `height`, the last one by the policy before, let the planned one take its place."""
    planned = read_planned(view)
    if planned is not None and planned.height <= height + 1:
        view.changes[POLICY_KEY.encode()] = encode(planned.policy)
        view.changes[PLANNED_KEY.encode()] = None


def check_policy(policy: Policy) -> None:
    """Raise `InputError` unless every figure lies in its range."""
    try:
        decode(Policy, encode(policy), size_max=POLICY_SIZE_MAX)
    except EncodingError as error:
        raise InputError("a figure of the policy is out of range", where="policy", got=error.got) from None


def policy_figures(policy: Policy) -> dict[str, int]:
    """Return the figures by name, in their order."""
    return {name: getattr(policy, name) for name in policy.__struct_fields__}


def policy_of(figures: dict[str, int]) -> Policy:
    """Return the policy of these figures, defaults for those left out; `InputError` on unknown names and bad values."""
    unknown = sorted(figures.keys() - set(Policy.__struct_fields__))
    if unknown:
        raise InputError(
            "unknown figure", where=f"policy.{unknown[0]}", expected=", ".join(Policy.__struct_fields__), got=unknown[0]
        )
    complete = {**policy_figures(Policy()), **figures}
    for name in Policy.__struct_fields__:
        _check_figure(name, complete[name])
    return Policy(**complete)


def _check_figure(name: str, value: int) -> None:
    type_ = msgspec.structs.fields(Policy)[Policy.__struct_fields__.index(name)].type
    try:
        msgspec.convert(value, type_, strict=True)
    except msgspec.ValidationError as error:
        expected = str(error).removeprefix("Expected ").replace("`", "")
        raise InputError("a figure of the policy", where=f"policy.{name}", expected=expected, got=value) from None


def read_policy(state: StateReader) -> Policy:
    """Return the policy in force; a state without one is our own mistake."""
    policy = state.get(POLICY_KEY, Policy)
    assert policy is not None, "the state holds no policy"
    return policy
