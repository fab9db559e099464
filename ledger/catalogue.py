"""The catalogue of product categories that can be certified: versioned data on the chain, not code.

Here: its records, the two published versions as data, and which version is in force at a time. Sources: the first
catalogue, SAMR and PBoC notice 49 of 2019 (11 categories); the second, notice 5 of 2022 (three more), each in force
from its day, 00:00 in Beijing. The notices ask a type examination and on-site checks of all; that the categories
of secure elements need a security evaluation besides is this consortium's policy.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta

from ledger.state import StateReader
from primitives.encoding import Record
from primitives.ids import TimeMs

CATEGORY_MAX = 99  # a certificate's number holds its category in two digits
CATALOGUES_MAX = 64


SLUG_PATTERN = r"\A[a-z][a-z_]{0,63}\Z"

CategoryNumber = Annotated[int, Meta(ge=1, le=CATEGORY_MAX)]
CategorySlug = Annotated[str, Meta(pattern=SLUG_PATTERN)]
CategoryName = Annotated[str, Meta(min_length=1, max_length=200)]
VersionNumber = Annotated[int, Meta(ge=1, le=9_999)]


class EvidenceKind(enum.StrEnum):
    """What a piece of evidence shows; who may bring it stands in `ledger.certificate_rules`."""

    TECHNICAL_DOCUMENTS = "technical_documents"
    TYPE_EXAMINATION = "type_examination"
    SECURITY_EVALUATION = "security_evaluation"
    SITE_CHECK = "site_check"
    REVIEW_REPORT = "review_report"
    CORRECTIVE_ACTION = "corrective_action"
    HOLDER_REQUEST = "holder_request"


ALWAYS_NEEDED = (EvidenceKind.TYPE_EXAMINATION, EvidenceKind.SITE_CHECK)
"""Both kinds without which nothing is granted, whatever a catalogue says (domain §3)."""


class Category(Record):
    """A type of product: its number, a slug, its names, and the evidence that a certificate needs."""

    number: CategoryNumber
    slug: CategorySlug
    name: CategoryName
    name_zh: CategoryName
    evidence: tuple[EvidenceKind, ...]


class Catalogue(Record):
    """One version, complete in itself, at `catalogue/<version>`; in force from a block time until a later one is."""

    version: VersionNumber
    effective_from_ms: Annotated[int, Meta(ge=0)]
    source: CategoryName
    categories: tuple[Category, ...]

    def category(self, number: int) -> Category | None:
        """Return the category of this number, or None."""
        return next((category for category in self.categories if category.number == number), None)


def catalogue_key(version: int) -> str:
    """Return the state key of a version."""
    return f"catalogue/{version}"


def in_force(catalogues: Iterable[Catalogue], time_ms: int) -> Catalogue | None:
    """Return the highest version that is effective at `time_ms`, or None before the first."""
    effective = [catalogue for catalogue in catalogues if catalogue.effective_from_ms <= time_ms]
    return max(effective, key=lambda catalogue: catalogue.version, default=None)


def read_catalogues(state: StateReader) -> list[Catalogue]:
    """Return all versions, ascending."""
    return sorted((catalogue for _, catalogue in state.scan("catalogue/", Catalogue)), key=lambda c: c.version)


def read_catalogue(state: StateReader, version: int) -> Catalogue | None:
    """Return one version, or None."""
    return state.get(catalogue_key(version), Catalogue)


_COMMON = (EvidenceKind.TECHNICAL_DOCUMENTS, *ALWAYS_NEEDED)
_SECURE = (*_COMMON, EvidenceKind.SECURITY_EVALUATION)

_FIRST = (
    Category(1, "client_software", "client software", "客户端软件", _COMMON),
    Category(2, "security_chip", "security chip", "安全芯片", _SECURE),
    Category(3, "security_carrier", "security carrier", "安全载体", _SECURE),
    Category(4, "embedded_application", "embedded application software", "嵌入式应用软件", _SECURE),
    Category(5, "atm", "automated teller machine (ATM)", "银行卡自动柜员机(ATM)终端", _COMMON),
    Category(6, "pos_terminal", "point-of-sale (POS) terminal", "支付销售点(POS)终端", _COMMON),
    Category(7, "tee", "mobile-terminal trusted execution environment", "移动终端可信执行环境(TEE)", _SECURE),
    Category(8, "trusted_application", "trusted application", "可信应用程序(TA)", _SECURE),
    Category(9, "barcode_terminal", "barcode acceptance terminal", "条码支付受理终端", _COMMON),
    Category(10, "voiceprint_system", "voiceprint recognition system", "声纹识别系统", _COMMON),
    Category(11, "cloud_platform", "cloud computing platform", "云计算平台", _COMMON),
)
_SECOND = (
    Category(12, "blockchain_product", "blockchain technology product", "区块链技术产品", _COMMON),
    Category(13, "bank_api", "commercial bank API", "商业银行应用程序接口", _COMMON),
    Category(14, "multi_party_computation", "multi-party computation", "多方安全计算金融应用", _COMMON),
)

CATALOGUE_1 = Catalogue(1, TimeMs(1_571_155_200_000), "SAMR and PBoC notice 49/2019", _FIRST)  # 2019-10-16 in Beijing
CATALOGUE_2 = Catalogue(2, TimeMs(1_643_472_000_000), "SAMR and PBoC notice 5/2022", _FIRST + _SECOND)  # 2022-01-30
PUBLISHED_CATALOGUES = (CATALOGUE_1, CATALOGUE_2)
