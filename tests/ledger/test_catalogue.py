"""The catalogue: the published versions as data, and which of them is in force."""

from __future__ import annotations

import pytest

from ledger.catalogue import (
    ALWAYS_NEEDED,
    CATALOGUE_1,
    CATALOGUE_2,
    PUBLISHED_CATALOGUES,
    EvidenceKind,
    catalogue_key,
    in_force,
    read_catalogue,
    read_catalogues,
)
from ledger.certificate_transitions import TRANSITIONS
from ledger.state import EmptyState, StateView, Transaction
from ledger.times import format_time

FIRST = [
    "client_software",
    "security_chip",
    "security_carrier",
    "embedded_application",
    "atm",
    "pos_terminal",
    "tee",
    "trusted_application",
    "barcode_terminal",
    "voiceprint_system",
    "cloud_platform",
]
SECOND = [*FIRST, "blockchain_product", "bank_api", "multi_party_computation"]


def test_the_first_catalogue_has_eleven_categories_and_the_second_three_more() -> None:
    for catalogue, slugs in ((CATALOGUE_1, FIRST), (CATALOGUE_2, SECOND)):
        assert [category.slug for category in catalogue.categories] == slugs
        assert [category.number for category in catalogue.categories] == list(range(1, len(slugs) + 1))
    assert CATALOGUE_2.categories[:11] == CATALOGUE_1.categories


def test_catalogues_are_in_force_from_their_day_in_beijing() -> None:
    begins = [format_time(catalogue.effective_from_ms) for catalogue in PUBLISHED_CATALOGUES]
    assert begins == ["2019-10-15T16:00:00Z", "2022-01-29T16:00:00Z"]


def test_every_category_needs_both_kinds_of_examination_once() -> None:
    for category in CATALOGUE_2.categories:
        assert set(ALWAYS_NEEDED) <= set(category.evidence)
        assert len(set(category.evidence)) == len(category.evidence)


def test_whatever_a_category_asks_some_event_before_the_grant_can_bring() -> None:
    brought: set[EvidenceKind] = set()
    for transition in TRANSITIONS:
        if transition.name in {"certificate.apply", "certificate.type_test", "certificate.site_check"}:
            brought |= transition.brings
    assert {kind for category in CATALOGUE_2.categories for kind in category.evidence} <= brought


@pytest.mark.parametrize(
    ("offset", "version"),
    [
        (CATALOGUE_1.effective_from_ms - 1, None),
        (CATALOGUE_1.effective_from_ms, 1),
        (CATALOGUE_2.effective_from_ms - 1, 1),
        (CATALOGUE_2.effective_from_ms, 2),
    ],
)
def test_the_highest_effective_version_is_in_force(offset: int, version: int | None) -> None:
    for catalogues in (PUBLISHED_CATALOGUES, tuple(reversed(PUBLISHED_CATALOGUES))):
        found = in_force(catalogues, offset)
        assert (None if found is None else found.version) == version


def test_categories_are_found_by_number() -> None:
    assert CATALOGUE_1.category(12) is None
    category = CATALOGUE_2.category(12)
    assert category is not None
    assert (category.slug, category.name_zh) == ("blockchain_product", "区块链技术产品")


def test_versions_are_read_from_the_state_in_ascending_order() -> None:
    rows = Transaction(EmptyState())
    catalogues = [CATALOGUE_1, CATALOGUE_2, *(CATALOGUE_2.__class__(v, v, "later", ()) for v in (10, 9))]
    for catalogue in catalogues:
        rows.put(catalogue_key(catalogue.version), catalogue)
    view = StateView(rows)
    assert [catalogue.version for catalogue in read_catalogues(view)] == [1, 2, 9, 10]
    assert read_catalogue(view, 2) == CATALOGUE_2
    assert read_catalogue(view, 3) is None
