"""The verifiers that share no code with the node know every version of the rules by which it executes blocks."""

from __future__ import annotations

import re

from ledger.rules import RULES_SUPPORTED
from tests.verifier.verifier_fixtures import FOLDER, load


def test_both_verifiers_know_the_rules_that_this_release_knows() -> None:
    assert load().RULES == RULES_SUPPORTED
    text = (FOLDER.parent / "web" / "verifier" / "validators.mjs").read_text("utf-8")
    (listed,) = re.findall(r"const RULES = \[([0-9n, ]+)\];", text)
    assert tuple(int(each) for each in listed.replace("n", "").split(",")) == RULES_SUPPORTED
