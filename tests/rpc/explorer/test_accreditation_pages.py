"""What pages say of accreditations, of the scheme's policy and of standards, and of proposals about them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ledger.accreditations import AccreditedRole
from ledger.genesis import GenesisAccreditation
from ledger.governance_bodies import Accredit, EndAccreditation, SetSchemePolicy, SetStandards
from ledger.reader import LedgerReader
from ledger.scheme_policy import MarkUse
from ledger.standards import CategoryStandards
from rpc.ports import NodeStatus, Services, Version
from tests.ledger.governance_fixtures import DAY_MS, START_MS, Schemed
from tests.rpc.explorer.conftest import HOSTILE
from tests.rpc.explorer.test_governance_pages import rows
from tests.rpc.explorer.test_hostile import assert_harmless
from tests.rpc.explorer.test_pages import assert_whole

LAB, INS = AccreditedRole.LABORATORY, AccreditedRole.INSPECTOR


@pytest.fixture(scope="module")
def council() -> Schemed:
    found = Schemed(
        accreditations=(
            GenesisAccreditation("bank-1", LAB, (5, 6), START_MS, START_MS + DAY_MS, HOSTILE),
            GenesisAccreditation("bank-1", INS, (5,), START_MS, START_MS + DAY_MS, "ISO/IEC 17020"),
        )
    )
    standards = SetStandards(2, (CategoryStandards(5, ("JR/T 0002", HOSTILE)),))
    end = EndAccreditation("bank-1", INS, 0, "lost_staff")
    for action in (SetSchemePolicy(6, MarkUse.NOTICE, None, None, None), standards, end):
        found.vote(found.propose(action), 0, 1, 2)
    return found


@pytest.fixture
def services(council: Schemed) -> Services:
    status = NodeStatus("", "node-0", "bank-0", "validator", council.chain.height, 0, 0, "node-1", 3, False, "1")
    node: Any = SimpleNamespace(
        status=lambda: status,
        peers=list,
        endings=list,
        ready=lambda: (True, []),
        version=lambda: Version("1", 1, "s", "3"),
    )
    unused: Any = None
    return Services(LedgerReader(council.store, council.genesis), unused, node, lambda: council.now_ms)


async def test_a_member_shows_what_it_is_accredited_for_and_what_was_ended(browse, council: Schemed) -> None:
    found = rows(await browse("/member/bank-1"), "accreditations")
    assert [row[:3] for row in found] == [
        ["inspection body", "ended by a vote", "05"],
        ["laboratory", "in force", "05 , 06"],
    ]
    assert "lost_staff" in found[0][5]
    assert not (await browse("/member/bank-2")).all("section", aria_labelledby="accreditations")


async def test_rules_show_the_schemes_policy_and_the_standards_of_a_category(browse, council: Schemed) -> None:
    page = await browse("/rules")
    assert [row[1] for row in rows(page, "scheme")] == [
        "6",
        "in promotion of what is certified",
        "90",
        "May be opened",
        "86400",
    ]
    assert ["05 automated teller machine (ATM)", "JR/T 0002"] in [
        [row[0], row[2].partition(",")[0]] for row in rows(page, "catalogue-2")
    ]


async def test_pages_about_the_scheme_are_whole_and_harmless_in_both_languages(browse, council: Schemed) -> None:
    proposal = council.propose(Accredit("bank-1", LAB, (7,), START_MS, START_MS + DAY_MS, HOSTILE))
    for path in ("/member/bank-1", "/rules", "/proposals", f"/proposal/{proposal.hex()}"):
        for language in ("en", "zh"):
            page = await browse(path, Accept_Language=language)
            assert_whole(page, language)
            assert_harmless(page)
    page = await browse(f"/proposal/{proposal.hex()}")
    assert "accreditation of bank-1 as laboratory" in page.one("section", aria_labelledby="consequences").text
