"""What outcomes say to people: the times in them as RFC 3339 UTC, by every rule that names any; the rest as it is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from inspect import getsource
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ledger
from ledger.accreditations import accreditation_refusal
from ledger.outcome_texts import TIMED_RULES, detail_text, why_text
from ledger.times import format_time
from tests.ledger.certificate_fixtures import NUMBER
from tests.ledger.mark_chain_fixtures import MarkChain
from tests.ledger.mark_fixtures import LICENSE, WITHDRAW

FOLDER = Path(ledger.__path__[0])
SPANS = {"least_ms", "WINDOWS_MS_MAX"}
AT_MS = 1_767_225_600_000
AT = "2026-01-01T00:00:00Z"


def refusals() -> Iterator[tuple[str, list[str], str]]:
    """Yield each refusal in the code whose detail names times: its rule, the words before the times, and where."""
    for path in sorted(FOLDER.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) == 2):
                continue
            if node.func.id not in ("broken", "rejected", "RuleBroken") or not isinstance(node.args[1], ast.JoinedStr):
                continue
            before, words = "", list[str]()
            for part in node.args[1].values:
                if isinstance(part, ast.Constant):
                    before = str(part.value)
                elif isinstance(part, ast.FormattedValue):
                    name = ast.unparse(part.value)
                    if re.search(r"_ms\b", name, re.IGNORECASE) and name not in SPANS:
                        words.append(before)
            if words:
                yield ast.unparse(node.args[0]).strip("'"), words, f"{path.name}:{node.lineno}"


def test_the_times_of_every_rule_are_found() -> None:
    found = list(refusals())
    assert len(found) > 20
    constants = {"EXPIRED": "expired", "EXPIRES_TOO_LATE": "expires_too_late"}
    for rule, words, where in found:
        if rule == "rule":  # what `accreditation_refusal` returns
            continue
        name = constants.get(rule, rule)
        assert name in TIMED_RULES, f"{where}: add {name} to TIMED_RULES"
        for before in words:
            assert detail_text(name, f"{before}{AT_MS}") == f"{before}{AT}", (
                f"{where}: no time is seen behind {before!r}"
            )
    returned = set(re.findall(r'"(\w+)"', getsource(accreditation_refusal)))
    assert len(returned) > 2
    assert returned <= TIMED_RULES


@pytest.mark.parametrize(
    ("rule", "detail", "said"),
    [
        ("mark_term", f"expected after {AT_MS}, up to {AT_MS + 1}, got {AT_MS}", None),
        (
            "accreditation_ended",
            f"lab as laboratory, category 5, at {AT_MS}",
            f"lab as laboratory, category 5, at {AT}",
        ),
        (
            "not_accredited",
            f"{AT_MS} as laboratory, category 5, at {AT_MS}",
            f"{AT_MS} as laboratory, category 5, at {AT}",
        ),
        ("barred_from_draws", f"until {AT_MS}, for cb.{AT_MS}", f"until {AT}, for cb.{AT_MS}"),
        ("not_permitted", f"expected bank-a, got {AT_MS}", f"expected bank-a, got {AT_MS}"),
        ("draw_windows", "expected 3600000 ms or more each", "expected 3600000 ms or more each"),
        ("expired", "at 5, block time 6", "at 5, block time 6"),
        ("expired", f"at {AT_MS}.5", f"at {AT_MS}.5"),
        ("expired", "", ""),
    ],
)
def test_a_detail_is_said_with_its_times_and_nothing_else_changes(rule: str, detail: str, said: str | None) -> None:
    expected = f"expected after {AT}, up to 2026-01-01T00:00:00.001Z, got {AT}" if said is None else said
    assert detail_text(rule, detail) == expected
    assert why_text(rule, detail) == (f"{rule}: {expected}" if expected else rule)


@given(rule=st.sampled_from(sorted(TIMED_RULES)), detail=st.text(max_size=80))
def test_any_text_can_be_said(rule: str, detail: str) -> None:
    assert len(detail_text(rule, detail)) >= len(detail)


def test_the_recorded_detail_stays_what_is_hashed() -> None:
    chain = MarkChain().licensed()
    until_ms = chain.now_ms - 1
    outcome = chain.block(("cb/first", LICENSE)).outcomes[0]
    assert outcome.rule == "mark_licensed"
    withdrawn = type(LICENSE)(NUMBER, LICENSE.media, until_ms, LICENSE.terms)
    chain.act("cb", "first", WITHDRAW)
    outcome = chain.block(("cb/first", withdrawn)).outcomes[0]
    assert (outcome.rule, f"got {until_ms}" in outcome.detail) == ("mark_term", True)
    assert f"got {format_time(until_ms)}" in detail_text(outcome.rule, outcome.detail)
