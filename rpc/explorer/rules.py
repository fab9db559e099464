"""The page of what is in force: the policy's figures, who decides on what, and the catalogue of product categories."""

from __future__ import annotations

from rpc.explorer.asking import Asked, Page, ask
from rpc.methods.gov_policy import get_policy


def rules(asked: Asked) -> Page:
    """Everything that a vote may change of the rules, with its ranges."""
    found = ask(get_policy, asked.services)
    values = {"policy": found, "catalogues": sorted(found.catalogues, key=lambda item: -item.version)}
    return Page("rules.html", "rules.title", values, as_of=found.as_of)
