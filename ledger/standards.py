"""The standards that a version of the catalogue has each category examined by: data on the chain, like the catalogue.

Here: the row `catalogue-standards/<version>`, which came with the third rules beside the catalogue's own, whose bytes
stay, and the published standards, with which a chain is founded unless its founders say otherwise. Members change them
by vote (`ledger.scheme_governance`). Sources: the standards' own titles; the annexes of the notices that
`ledger.catalogue` names.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from ledger.catalogue import CATEGORY_MAX, CategoryNumber, VersionNumber
from ledger.members import Text
from ledger.state import StateGetter, Transaction
from primitives.encoding import Record

STANDARDS_PREFIX: Final = "catalogue-standards/"
STANDARDS_A_CATEGORY_MAX: Final = 16


class CategoryStandards(Record):
    """What products of a category are examined by, each as it is cited, such as JR/T 0092."""

    number: CategoryNumber
    standards: Annotated[tuple[Text, ...], Meta(min_length=1, max_length=STANDARDS_A_CATEGORY_MAX)]


CategoriesStandards = Annotated[tuple[CategoryStandards, ...], Meta(min_length=1, max_length=CATEGORY_MAX)]


class CatalogueStandards(Record):
    """The standards of a version of the catalogue, at `catalogue-standards/<version>`, ascending by category."""

    version: VersionNumber
    categories: CategoriesStandards

    def of(self, number: int) -> tuple[str, ...]:
        """Return the standards of a category, none where none are named."""
        return next((item.standards for item in self.categories if item.number == number), ())


def standards_key(version: int) -> str:
    """Return the state key of the standards of a version of the catalogue."""
    return f"{STANDARDS_PREFIX}{version}"


def read_standards(state: StateGetter, version: int) -> CatalogueStandards | None:
    """Return the standards of a version of the catalogue, None where none are named."""
    return state.get(standards_key(version), CatalogueStandards)


def put_standards(state: Transaction, standards: CatalogueStandards) -> None:
    """Write the standards of a version of the catalogue, in place of those before."""
    state.put(standards_key(standards.version), standards)


_FIRST: Final = (
    CategoryStandards(1, ("JR/T 0092", "JR/T 0098.3", "T/PCAC 0006")),
    CategoryStandards(2, ("JR/T 0098.2",)),
    CategoryStandards(3, ("JR/T 0089", "JR/T 0098.1", "JR/T 0098.5")),
    CategoryStandards(4, ("JR/T 0095", "JR/T 0098.5")),
    CategoryStandards(5, ("JR/T 0002", "JR/T 0120")),
    CategoryStandards(6, ("JR/T 0001", "JR/T 0120")),
    CategoryStandards(7, ("JR/T 0156",)),
    CategoryStandards(8, ("JR/T 0156",)),
    CategoryStandards(9, ("银办发〔2017〕242号", "T/PCAC 0005")),
    CategoryStandards(10, ("JR/T 0164",)),
    CategoryStandards(11, ("JR/T 0166", "JR/T 0167", "JR/T 0168")),
)
_SECOND: Final = (
    CategoryStandards(12, ("JR/T 0184", "JR/T 0193")),
    CategoryStandards(13, ("JR/T 0185",)),
    CategoryStandards(14, ("JR/T 0196",)),
)
PUBLISHED_STANDARDS: Final = (CatalogueStandards(1, _FIRST), CatalogueStandards(2, _FIRST + _SECOND))
"""Those of the two published versions of the catalogue."""
