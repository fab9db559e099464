"""What the events of a draw change, kinds 20 to 24: announcement, commitments, closing, reveals, and the draw.

Who can steer: nobody knows the seed while one of those that committed keeps its secret, and nobody chooses when
commitments end (`ledger.inspection_closing`), before any secret is shown. Whoever commits and does not reveal makes the
draw void: that is a fault on record, and for a year the member commits to nothing. Going on without it would be worse:
of k members that act in concert each could then choose to be left out, among 2^k seeds, where so they have k + 1 draws.
Any member draws, so that nobody holds a draw up. What remains is written in docs/security.md. Source: domain §3.
"""

from __future__ import annotations

from typing import Final, assert_never

from msgspec.structs import replace

from ledger.catalogue import in_force, read_catalogues
from ledger.certificate_rules import broken
from ledger.inspection_bodies import (
    AnnounceInspection,
    CloseInspection,
    CommitInspection,
    DrawBody,
    DrawInspection,
    RevealInspection,
    check_draw_body,
)
from ledger.inspection_closing import await_closing, end_draw
from ledger.inspection_records import (
    OPEN_KEY,
    Committed,
    Fault,
    Inspection,
    Phase,
    UnderWay,
    fault_key,
    inspection_key,
    kept_key,
    read_inspection,
    read_open,
    read_under_way,
    under_way_key,
)
from ledger.inspection_selection import commitment_of, lowest_of, seed_of
from ledger.inspection_standing import next_candidates
from ledger.kinds import APPLIED_A_MEMBER_MAX, ApplyContext, KindSpec
from ledger.members import Role
from ledger.policy import DAY_MS
from ledger.rules import RULES_SCHEME
from ledger.scheme_policy import read_scheme_policy
from ledger.state import StateReader, Transaction

SCHEMA: Final = 1
COMMITMENTS_MAX: Final = 64
STEP_CERTIFICATES: Final = 2_000
"""Certificates that one step of a draw looks at: some 20 ms of work."""
UNDER_WAY_MAX: Final = 4
WINDOWS_MS_MAX: Final = 90 * DAY_MS
BARRED_MS: Final = 365 * DAY_MS
ANNOUNCERS: Final[frozenset[str]] = frozenset({Role.CERTIFICATION_BODY, Role.REGULATOR})
COMMITTERS: Final[frozenset[str]] = frozenset(
    {Role.CERTIFICATION_BODY, Role.LABORATORY, Role.INSPECTOR, Role.REGULATOR, Role.AUDITOR}
)
"""Those that supervise; holders and applicants draw no lots on themselves."""
NOT_REVEALED: Final = "not_revealed"


def apply_draw_event(context: ApplyContext, state: Transaction, body: DrawBody) -> None:
    """Write what an event of a draw changes; RuleBroken names the rule that forbids it."""
    match body:
        case AnnounceInspection():
            _announce(context, state, body)
        case CommitInspection():
            _commit(context, state, body)
        case CloseInspection():
            _close(context, state, body)
        case RevealInspection():
            _reveal(context, state, body)
        case DrawInspection():
            _draw(context, state, body)
        case _:
            assert_never(body)


def _announce(context: ApplyContext, state: Transaction, body: AnnounceInspection) -> None:
    if body.draw.partition(".")[0] != context.member:
        raise broken("not_own_draw", body.draw)
    if read_inspection(state, body.draw) is not None:
        raise broken("draw_exists", body.draw)
    now_ms = context.time_ms
    least_ms = read_scheme_policy(state).inspection_window_s_min * 1_000
    windows = body.commit_until_ms - now_ms, body.reveal_until_ms - body.commit_until_ms
    if min(windows) < least_ms or sum(windows) > WINDOWS_MS_MAX:
        raise broken("draw_windows", f"expected {least_ms} ms or more each, {WINDOWS_MS_MAX} in all, got {windows}")
    catalogue = in_force(read_catalogues(state), now_ms)
    for item in body.categories:
        if catalogue is None or catalogue.category(item.category) is None:
            raise broken("unknown_category", str(item.category))
    _replace(context, state, body)
    mine = read_under_way(state, context.member)
    if len(mine) >= UNDER_WAY_MAX:
        raise broken("too_many_draws", ", ".join(mine))
    state.put(under_way_key(context.member), UnderWay((*mine, body.draw)))
    await_closing(state, body.draw, body.commit_until_ms)
    _put(
        state,
        Inspection(
            id=body.draw,
            member=context.member,
            event_id=context.event_id,
            time_ms=now_ms,
            categories=body.categories,
            count=body.count,
            commit_until_ms=body.commit_until_ms,
            reveal_ms=body.reveal_until_ms - body.commit_until_ms,
            report_days=body.report_days,
            replaces=body.replaces,
            phase=Phase.ANNOUNCED,
        ),
    )


def _replace(context: ApplyContext, state: Transaction, body: AnnounceInspection) -> None:
    """Note with a void draw that it is announced anew, with the same categories, weights and count."""
    if body.replaces is None:
        return
    before = _present(state, body.replaces)
    if before.member != context.member and Role.REGULATOR not in context.source_roles:
        raise broken("not_own_draw", f"{before.id} was announced by {before.member}")
    if before.phase is not Phase.VOID or before.replaced_by is not None:
        raise broken("draw_not_void", f"{before.id} is {before.replaced_by or before.phase}")
    if (before.categories, before.count) != (body.categories, body.count):
        raise broken("draw_differs", f"expected the categories, weights and count of {before.id}")
    _put(state, replace(before, replaced_by=body.draw))


def _commit(context: ApplyContext, state: Transaction, body: CommitInspection) -> None:
    draw = _present(state, body.draw)
    if draw.closing is not None:
        raise broken("commitments_ended", f"at {draw.commit_until_ms}")
    assert context.time_ms < draw.commit_until_ms, "execution closes draws before it runs events"
    if any(item.member == context.member for item in draw.committed):
        raise broken("already_committed", context.member)
    if len(draw.committed) >= COMMITMENTS_MAX:
        raise broken("too_many_commitments", draw.id)
    fault = state.get(fault_key(context.member), Fault)
    if fault is not None and context.time_ms < fault.barred_until_ms:
        raise broken("barred_from_draws", f"until {fault.barred_until_ms}, for {fault.draw}")
    mine = Committed(context.member, body.commitment, context.event_id, None, None)
    _put(state, replace(draw, committed=tuple(sorted((*draw.committed, mine), key=lambda item: item.member))))


def _close(context: ApplyContext, state: Transaction, body: CloseInspection) -> None:
    """Confirm that commitments have ended: execution closed the draw before; on a quiet chain this makes the block."""
    draw = _present(state, body.draw)
    if draw.closing is None:
        raise broken("commitments_open", f"until {draw.commit_until_ms}")
    if draw.closing.height != context.height:
        raise broken("wrong_phase", f"expected {Phase.ANNOUNCED}, is {draw.phase}")


def _reveal(context: ApplyContext, state: Transaction, body: RevealInspection) -> None:
    draw = _in_phase(state, body.draw, Phase.CLOSED)
    assert draw.closing is not None
    assert draw.reveal_until_ms is not None
    if draw.closing.block is None:
        raise broken("reveal_too_early", f"expected a block after {draw.closing.height}")
    if context.time_ms >= draw.reveal_until_ms:
        raise broken("reveals_ended", f"at {draw.reveal_until_ms}")
    mine = next((item for item in draw.committed if item.member == context.member), None)
    if mine is None:
        raise broken("no_commitment", context.member)
    if mine.secret is not None:
        raise broken("already_revealed", context.member)
    if commitment_of(context.chain_id, draw.id, context.member, body.secret) != mine.commitment:
        raise broken("wrong_reveal", f"committed to {mine.commitment.hex()[:16]}")
    shown = replace(mine, secret=body.secret, revealed_by=context.event_id)
    _put(state, replace(draw, committed=tuple(shown if item is mine else item for item in draw.committed)))


def _draw(context: ApplyContext, state: Transaction, body: DrawInspection) -> None:
    draw = _present(state, body.draw)
    if draw.phase not in (Phase.CLOSED, Phase.DRAWING):
        raise broken("wrong_phase", f"expected closed or drawing, is {draw.phase}")
    assert draw.closing is not None
    assert draw.reveal_until_ms is not None
    if draw.missing and context.time_ms < draw.reveal_until_ms:
        raise broken("reveals_open", f"until {draw.reveal_until_ms}, for {', '.join(draw.missing)}")
    if draw.missing:
        _void_for_faults(context, state, draw)
        return
    opened = read_open(state)
    if context.height == opened.stepped:
        raise broken("draw_turn_taken", f"height {context.height}")
    state.put(OPEN_KEY, replace(opened, stepped=context.height))
    if draw.seed is None:
        shown = [(item.member, item.secret) for item in draw.committed if item.secret is not None]
        assert draw.closing.block is not None, "reveals come after it"
        seed = seed_of(context.chain_id, draw.id, draw.closing.block, shown)
        draw = replace(draw, phase=Phase.DRAWING, seed=seed)
    _step(context, state, draw)


def _step(context: ApplyContext, state: Transaction, draw: Inspection) -> None:
    """Look at the next certificates; at the end of all the selection stands."""
    others = tuple(item.height for item in read_open(state).draws if item.draw != draw.id)
    found, numbers, kept = next_candidates(state, draw, others, STEP_CERTIFICATES)
    for number, row in kept.items():
        if row is None:
            state.delete(kept_key(number))
        else:
            state.put(kept_key(number), row)
    after = replace(
        draw,
        cursor=numbers[-1] if numbers else draw.cursor,
        looked_at=draw.looked_at + len(numbers),
        eligible=draw.eligible + len(found),
        weight=draw.weight + sum(item.weight for item in found),
        selection=lowest_of((*draw.selection, *found), draw.count),
    )
    if more_after(state, after.cursor):
        _put(state, after)
        return
    report_until_ms = context.time_ms + draw.report_days * DAY_MS
    end_draw(
        state,
        replace(after, phase=Phase.DRAWN, drawn_ms=context.time_ms, report_until_ms=report_until_ms),
    )


def more_after(state: Transaction, cursor: str) -> bool:
    """Say whether there is a certificate with a higher number."""
    if not cursor:
        return False
    return next(state.raw_scan(b"certificate/", None, b"certificate/" + cursor.encode() + b"\0"), None) is not None


def _void_for_faults(context: ApplyContext, state: Transaction, draw: Inspection) -> None:
    """End a draw for which reveals are missing, and record the fault of each member that did not reveal."""
    for member in draw.missing:
        before = state.get(fault_key(member), Fault)
        count = 1 if before is None else before.count + 1
        state.put(fault_key(member), Fault(member, draw.id, context.time_ms, context.time_ms + BARRED_MS, count))
    end_draw(state, replace(draw, phase=Phase.VOID, void=NOT_REVEALED))


def _present(state: StateReader, draw: str) -> Inspection:
    found = read_inspection(state, draw)
    if found is None:
        raise broken("unknown_draw", draw)
    return found


def _in_phase(state: StateReader, draw: str, phase: Phase) -> Inspection:
    found = _present(state, draw)
    if found.phase is not phase:
        raise broken("wrong_phase", f"expected {phase}, is {found.phase}")
    return found


def _put(state: Transaction, draw: Inspection) -> None:
    state.put(inspection_key(draw.id), draw)


def _kind(kind: int, name: str, body: type[DrawBody], roles: frozenset[str] = frozenset()) -> KindSpec:
    return KindSpec(
        kind=kind,
        name=f"inspection.{name}",
        schemas={SCHEMA: body},
        changes_state=True,
        apply=apply_draw_event,
        check_shape=check_draw_body,
        roles=roles,
        rules_min=RULES_SCHEME,
        schema_applied_max={SCHEMA: APPLIED_A_MEMBER_MAX},
    )


INSPECTION_KINDS: tuple[KindSpec, ...] = (
    _kind(20, "announce", AnnounceInspection, ANNOUNCERS),
    _kind(21, "commit", CommitInspection, COMMITTERS),
    _kind(22, "close", CloseInspection),
    _kind(23, "reveal", RevealInspection),
    _kind(24, "draw", DrawInspection),
)
