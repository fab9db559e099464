"""Importing a register: what each event is held to, and what an imported certificate is worth."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from ledger.batches import check_event
from ledger.catalogue import EvidenceKind
from ledger.certificate_bodies import Body, Cancel, Reduce, Renew, Restore, Revoke, Surveil
from ledger.certificate_records import State, Status, add_months, status_at
from ledger.certificate_rules import RULES
from ledger.events import Event
from ledger.members import Member, Role, member_key
from ledger.register_bodies import (
    IMPORT,
    OPEN_REGISTER,
    Import,
    RegisterBody,
    RegisterRow,
    RowSuspension,
    RowTree,
    SourceFile,
    register_statement,
    row_leaf,
)
from ledger.register_checks import REGISTER_OPEN_DAYS
from ledger.register_records import is_place, read_imported
from ledger.registry import KINDS
from ledger.rules import RULES_SCHEME
from ledger.scheme_policy import RegisterImports, SchemePolicy, put_scheme_policy
from ledger.state import Transaction
from ledger.times import parse_time
from primitives.encoding import encode
from primitives.errors import InputError
from primitives.ids import ZERO_HASH, Hash
from primitives.merkle import inclusion_path, root_of
from tests.ledger.certificate_fixtures import CORRECTION, DAY_MS, DOCUMENTS, REQUEST, START_MS, piece, suspend
from tests.ledger.register_fixtures import (
    GRANTED_MS,
    REGISTER,
    SOURCE,
    Registers,
    importing,
    opening,
    row,
    signed_opening,
    suspended,
    tree,
)
from tests.ledger.scheme_fixtures import VISIT, signed

ROWS = [row(1), suspended(2), row(3)]
NUMBER = ROWS[0].number


def imported() -> Registers:
    """Return the consortium after the import of all rows."""
    return Registers().import_all(ROWS)


# --- opening


def test_a_body_opens_a_register_that_two_of_its_officers_signed() -> None:
    consortium = Registers()
    assert consortium.submit("cb", opening(ROWS)) == ""
    held = consortium.register()
    assert (held.body, held.count, held.imported, held.root) == ("cb", 3, 0, tree(ROWS).root)
    assert held.open_until_ms == START_MS + REGISTER_OPEN_DAYS * DAY_MS


def _unsigned(register: str, **changes: object) -> Callable[[], RegisterBody]:
    return lambda: signed_opening(replace(opening(ROWS, register=register), **changes))


OPENINGS: dict[str, tuple[str, Callable[[], RegisterBody]]] = {
    "another member's register": ("not_own_register", lambda: opening(ROWS, register="cb-other.2025")),
    "officers of another member": ("unknown_officer", lambda: opening(ROWS, member="cb-other")),
    "more rows than were signed for": ("bad_approval", lambda: replace(opening(ROWS), count=4)),
    "another root than was signed for": ("bad_approval", lambda: replace(opening(ROWS), root=bytes(32))),
    "another file than was signed for": (
        "bad_approval",
        lambda: replace(opening(ROWS), source=SourceFile(bytes(32), "cb", 1)),
    ),
    "a file that nobody keeps": ("unknown_custodian", _unsigned(REGISTER, source=replace(SOURCE, custodian="nobody"))),
}


@pytest.mark.parametrize("case", OPENINGS)
def test_an_opening_that_is_not_so_is_refused_by_name(case: str) -> None:
    rule, body = OPENINGS[case]
    consortium = Registers()
    assert consortium.submit("cb", body()) == rule


def test_a_register_is_opened_once_and_its_signatures_open_no_other() -> None:
    consortium = Registers().opened(ROWS)
    assert consortium.submit("cb", opening(ROWS)) == "register_exists"
    assert consortium.submit("cb", replace(opening(ROWS), register="cb.2026")) == "bad_approval"


def test_members_may_close_the_door_to_certificates_from_before_the_chain() -> None:
    consortium = Registers().opened(ROWS)
    voted = Transaction(consortium.view)
    put_scheme_policy(voted, SchemePolicy(register_imports=RegisterImports.CLOSED))
    voted.apply(consortium.view)
    assert consortium.submit("cb", opening(ROWS, register="cb.2026")) == "registers_closed"
    assert consortium.submit("cb", importing(ROWS, 0)) == "", "what is open goes on"


def test_signatures_for_another_chain_open_nothing() -> None:
    body = opening(ROWS)
    assert register_statement(ZERO_HASH, body) != register_statement(Hash(b"\1" * 32), body)


def test_one_officer_does_not_sign_twice() -> None:
    first = opening(ROWS).approvals[0]
    body = replace(opening(ROWS), approvals=(first, first))
    event = Event("cb", bytes(16), START_MS, OPEN_REGISTER, 1, encode(body))
    with pytest.raises(InputError, match="an officer stands twice"):
        check_event(encode(event))


# --- rows


def test_a_row_becomes_a_certificate_whose_history_begins_with_its_import() -> None:
    consortium = imported()
    certificate = consortium.certificate(NUMBER)
    assert (certificate.state, certificate.holder, certificate.body) == (State.ACTIVE, "bank-a", "cb")
    assert (certificate.valid_from_ms, certificate.valid_until_ms) == (GRANTED_MS, ROWS[0].valid_until_ms)
    assert certificate.history.count == 1
    assert is_place(certificate.application)
    assert certificate.application == f"{REGISTER}#0"
    beside = consortium.beside(NUMBER)
    assert (beside.holder_id, beside.scope, beside.issues) == (ROWS[0].holder_id, ROWS[0].scope, 1)
    assert beside.rulings == certificate.history, "officers sign no revocation before the import"
    assert consortium.register().imported == 3


def test_a_row_of_the_state_says_that_a_certificate_was_imported() -> None:
    consortium = imported()
    found = read_imported(consortium.view, ROWS[1].number)
    assert found is not None
    assert (found.register, found.index, found.time_ms) == (REGISTER, 1, START_MS + 60_000)
    assert read_imported(consortium.view, "FTP-2025-06-999999") is None


def test_nothing_is_said_of_the_time_before_an_import() -> None:
    certificate = imported().certificate(NUMBER)
    import_ms = certificate.history.changed_ms
    assert status_at(certificate, import_ms).since_ms == import_ms
    assert status_at(certificate, import_ms).status is Status.VALID
    with pytest.raises(InputError, match="does not reach back so far"):
        status_at(certificate, import_ms - 1)
    assert status_at(certificate, GRANTED_MS - 1).status is Status.NOT_YET_VALID


def test_a_suspended_row_is_suspended_from_its_import_on() -> None:
    consortium = imported()
    certificate = consortium.certificate(ROWS[1].number)
    assert certificate.state is State.SUSPENDED
    assert certificate.suspension is not None
    assert certificate.suspension.from_ms == certificate.since_ms == START_MS + 60_000
    assert certificate.suspension.until_ms == START_MS + 30 * DAY_MS


ROW_CASES: dict[str, tuple[str, RegisterRow]] = {
    "wrong check character of a USCC": ("bad_holder_id", row(holder_id="91110000600037341M")),
    "wrong check digits of an LEI": ("bad_holder_id", row(holder_id="HWUPKR0MPOU8FGXBT395")),
    "category that the catalogue lacks": (
        "unknown_category",
        row(category=12, catalogue=1, number="FTP-2025-12-000001"),
    ),
    "category of no catalogue": ("unknown_category", row(category=98, number="FTP-2025-98-000001")),
    "catalogue that there is not": ("unknown_catalogue", row(catalogue=9)),
    "granted before its catalogue": (
        "catalogue_not_in_force",
        row(granted_ms=1_640_000_000_000, number="FTP-2021-06-000001"),
    ),
    "number of another category": ("number_of_other_category", row(category=5)),
    "number of a later year": ("number_of_other_year", row(number="FTP-2026-06-000001")),
    "number of an earlier year": ("number_of_other_year", row(number="FTP-2024-06-000001")),
    "granted after the opening": ("granted_too_late", row(granted_ms=START_MS + 1, number="FTP-2026-06-000001")),
    "dates that run backwards": ("validity_empty", row(valid_until_ms=GRANTED_MS)),
    "term that is over": ("term_ended", row(valid_until_ms=START_MS)),
    "term that is over at the block": ("term_ended", row(valid_until_ms=START_MS + 60_000)),
    "term beyond three years": ("validity_too_long", row(valid_until_ms=add_months(GRANTED_MS, 36) + 1)),
    "suspension that is over": (
        "suspension_empty",
        row(suspension=RowSuspension("inspection_failed", START_MS + 60_000)),
    ),
    "suspension beyond the longest": (
        "suspension_too_long",
        row(suspension=RowSuspension("inspection_failed", START_MS + 60_001 + 180 * DAY_MS)),
    ),
    "the body's own product": ("conflict_of_interest", row(holder="cb")),
    "holder that is no member": ("unknown_holder", row(holder="nobody")),
    "holder that is no bank and no vendor": ("not_a_holder", row(holder="lab")),
    "evidence of a later event": (
        "evidence_not_expected",
        row(evidence=(piece(EvidenceKind.CORRECTIVE_ACTION, "later"),)),
    ),
    "document that nobody keeps": (
        "unknown_custodian",
        row(evidence=(piece(EvidenceKind.SITE_CHECK, "visit", "nobody"),)),
    ),
}


@pytest.mark.parametrize("case", ROW_CASES)
def test_a_row_that_breaks_a_rule_is_refused_by_its_name_and_changes_nothing(case: str) -> None:
    rule, bad = ROW_CASES[case]
    rows = [row(7), bad]
    consortium = Registers().opened(rows)
    before = dict(consortium.view.changes)
    assert consortium.submit("cb", importing(rows, 1)) == rule
    assert consortium.view.changes == before
    assert consortium.submit("cb", importing(rows, 0)) == ""


def test_the_longest_term_and_the_last_moment_before_its_end_are_admitted() -> None:
    rows = [row(1, valid_until_ms=add_months(GRANTED_MS, 36)), row(2, valid_until_ms=START_MS + 60_001)]
    assert Registers().import_all(rows).register().imported == 2


def test_a_grant_of_new_year_s_eve_in_utc_may_have_the_year_that_it_was_in_beijing() -> None:
    eve_ms = 1_735_660_800_000  # 2024-12-31T16:00:00Z, midnight in Beijing
    rows = [
        row(1, granted_ms=eve_ms, number="FTP-2025-06-000001"),
        row(2, granted_ms=eve_ms, number="FTP-2024-06-000002"),
    ]
    consortium = Registers().import_all(rows)
    assert [consortium.certificate(each.number).valid_from_ms for each in rows] == [eve_ms, eve_ms]


def test_three_years_from_the_first_of_march_in_beijing_run_to_the_last_of_february() -> None:
    granted_ms, end_ms = parse_time("2025-02-28T16:00:00Z"), parse_time("2028-02-29T16:00:00Z")
    rows = [row(1, granted_ms=granted_ms, valid_until_ms=end_ms)]
    consortium = Registers().import_all(rows)
    assert consortium.certificate(NUMBER).valid_until_ms == end_ms
    consortium = Registers().opened([row(1, granted_ms=granted_ms, valid_until_ms=end_ms + 1)])
    late = [row(1, granted_ms=granted_ms, valid_until_ms=end_ms + 1)]
    assert consortium.submit("cb", importing(late, 0)) == "validity_too_long"


def _excluded(consortium: Registers, member: str, role: Role) -> None:
    changed = Transaction(consortium.view)
    changed.put(member_key(member), Member(member, member, (role,), "", (), (), excluded=True))
    changed.apply(consortium.view)


def test_excluded_members_hold_nothing_and_keep_nothing() -> None:
    rows = [row(1), row(2, evidence=(piece(EvidenceKind.SITE_CHECK, "v", "lab"),), holder="bank-b")]
    consortium = Registers().opened(rows)
    _excluded(consortium, "bank-a", Role.BANK)
    _excluded(consortium, "lab", Role.LABORATORY)
    assert consortium.submit("cb", importing(rows, 0)) == "unknown_holder"
    assert consortium.submit("cb", importing(rows, 1)) == "excluded_custodian"


def test_each_row_comes_once_and_each_number_is_taken_once() -> None:
    rows = [row(1), row(1, holder_name="Another"), row(2)]
    consortium = Registers().opened(rows)
    assert consortium.submit("cb", importing(rows, 0)) == ""
    assert consortium.submit("cb", importing(rows, 0)) == "row_imported"
    assert consortium.submit("cb", importing(rows, 1)) == "number_taken"
    assert consortium.register().imported == 1


def test_a_number_that_was_granted_here_is_not_imported() -> None:
    rows = [row(1, number="FTP-2026-06-000001", granted_ms=START_MS)]
    consortium = Registers()
    consortium.granted()
    consortium.next_block()
    assert consortium.submit("cb", opening(rows)) == ""
    consortium.next_block()
    before = consortium.certificate("FTP-2026-06-000001")
    assert consortium.submit("cb", importing(rows, 0)) == "number_taken"
    assert consortium.certificate("FTP-2026-06-000001") == before


def test_rows_wait_for_the_block_after_the_opening() -> None:
    consortium = Registers()
    assert consortium.submit("cb", opening(ROWS)) == ""
    assert consortium.submit("cb", importing(ROWS, 0)) == "register_not_settled"
    consortium.next_block()
    assert consortium.submit("cb", importing(ROWS, 0)) == ""


def test_rows_come_until_the_register_closes() -> None:
    rows = [replace(each, suspension=None) for each in ROWS]
    consortium = Registers().opened(rows)
    consortium.now_ms = START_MS + REGISTER_OPEN_DAYS * DAY_MS - 1
    assert consortium.submit("cb", importing(rows, 0)) == ""
    consortium.now_ms += 1
    assert consortium.submit("cb", importing(rows, 1)) == "register_closed"


def test_what_is_not_in_the_register_is_not_imported() -> None:
    consortium = Registers().opened(ROWS)
    true = importing(ROWS, 0)
    assert consortium.submit("cb", replace(true, register="cb.other")) == "unknown_register"
    assert consortium.submit("cb", replace(true, index=3)) == "register_count_exceeded"
    assert consortium.submit("cb", replace(true, row=row(4))) == "not_in_register"
    assert consortium.submit("cb", replace(true, index=1)) == "not_in_register"
    assert consortium.submit("cb", replace(true, path=true.path[:1])) == "not_in_register"
    assert consortium.submit("cb", replace(true, path=(*true.path, bytes(32)))) == "not_in_register"
    assert consortium.submit("cb", replace(true, path=(bytes(32), *true.path[1:]))) == "not_in_register"


def test_only_the_body_that_opened_a_register_imports_from_it() -> None:
    consortium = Registers().opened(ROWS)
    assert consortium.submit("cb-other", importing(ROWS, 0)) == "not_own_register"


def test_a_row_of_one_register_is_none_of_another() -> None:
    assert row_leaf("cb.1", 0, ROWS[0]) != row_leaf("cb.2", 0, ROWS[0])
    assert row_leaf("cb.1", 0, ROWS[0]) != row_leaf("cb.1", 1, ROWS[0])


def test_both_kinds_are_of_certification_bodies_and_the_third_rules() -> None:
    for number in (OPEN_REGISTER, IMPORT):
        spec = KINDS[number]
        assert spec.roles == frozenset({"certification_body"})
        assert spec.rules_min == RULES_SCHEME
    assert KINDS[OPEN_REGISTER].is_dear, "it verifies two signatures"


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 13, 100])
def test_the_tree_over_rows_is_that_of_rfc_6962(size: int) -> None:
    leaves = [row_leaf(REGISTER, index, ROWS[0]) for index in range(size)]
    made = RowTree(leaves)
    assert made.root == root_of(leaves)
    assert [list(made.path(index)) for index in range(size)] == [inclusion_path(leaves, i) for i in range(size)]


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        (row(scope=("contact", "contact")), "an entry stands twice"),
        (row(evidence=(piece(EvidenceKind.SITE_CHECK), piece(EvidenceKind.SITE_CHECK))), "a document stands twice"),
    ],
)
def test_a_row_that_names_a_thing_twice_is_no_event(bad: RegisterRow, what: str) -> None:
    event = Event("cb", bytes(16), START_MS, IMPORT, 1, encode(Import(REGISTER, 0, bad, ())))
    with pytest.raises(InputError, match=what):
        check_event(encode(event))


def test_every_rule_that_can_be_broken_is_in_the_table() -> None:
    assert {rule for rule, _ in [*ROW_CASES.values(), *OPENINGS.values()]} <= set(RULES)


# --- afterwards


AFTERWARDS: dict[str, tuple[str, str, Callable[[Registers], Body]]] = {
    "suspend": ("cb", NUMBER, lambda _: suspend(NUMBER)),
    "revoke": ("cb", NUMBER, lambda c: signed(Revoke(NUMBER, "mark_misused", None), c.beside(NUMBER))),
    "revoke from before the import": (
        "cb",
        NUMBER,
        lambda c: signed(Revoke(NUMBER, "mark_misused", GRANTED_MS), c.beside(NUMBER)),
    ),
    "cancel": ("cb", NUMBER, lambda _: Cancel(NUMBER, REQUEST)),
    "surveil": ("ins", NUMBER, lambda _: Surveil(NUMBER, True, False, (), None, VISIT)),
    "reduce": ("cb", NUMBER, lambda _: Reduce(NUMBER, "holder_asks", ("contactless",), REQUEST)),
    "restore": ("cb", ROWS[1].number, lambda _: Restore(ROWS[1].number, CORRECTION)),
}


@pytest.mark.parametrize("case", AFTERWARDS)
def test_everything_that_happens_to_a_certificate_happens_to_an_imported_one(case: str) -> None:
    member, number, body = AFTERWARDS[case]
    consortium = imported()
    assert consortium.submit(member, body(consortium)) == ""
    assert consortium.certificate(number).history.count == 2


def test_an_imported_certificate_is_renewed_by_its_holder() -> None:
    consortium = imported()
    consortium.now_ms = ROWS[0].valid_until_ms - 100 * DAY_MS
    assert consortium.submit("bank-a", Renew("bank-a.0002", NUMBER, DOCUMENTS)) == ""
    assert consortium.application("bank-a.0002").supersedes == NUMBER


def test_a_document_that_came_with_the_import_does_not_come_again() -> None:
    consortium = imported()
    again = Surveil(NUMBER, True, False, (), None, (*VISIT, *ROWS[0].evidence))
    assert consortium.submit("ins", again) == "evidence_repeated"
