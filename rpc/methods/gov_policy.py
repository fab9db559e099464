"""gov_getPolicy: the figures, shares and catalogues in force, and within what votes may change them.

Source: docs/protocol.md, "Governance" and "The policy".
"""

from __future__ import annotations

from ledger.amendment_rules import LEAST
from ledger.catalogue import Catalogue, in_force, read_catalogues
from ledger.committed_state import CommittedState
from ledger.governance_actions import ACTION_TYPES
from ledger.governance_records import voters
from ledger.policy import PlannedPolicy, Policy, policy_range, read_planned, read_policy
from ledger.rules import read_rules
from ledger.scheme_policy import read_scheme_policy
from ledger.standards import CatalogueStandards, read_standards
from ledger.thresholds import LOWEST, Share, Thresholds, read_thresholds, votes_needed
from rpc.errors import Code
from rpc.methods.gov import now_ms
from rpc.methods.heights import tip_of
from rpc.ports import Services
from rpc.registry import method
from rpc.rights import Access
from rpc.types import AsOf, NoParams, Result, Time, time_text


class FigureResult(Result, frozen=True):
    """A figure of the policy: its value, the least and most that a vote may give it, and the value that is planned."""

    name: str
    value: int
    least: int
    most: int
    planned: int | None


class ThresholdResult(Result, frozen=True):
    """More than which share of the members with a validator decides on a type of action, and the least it may be."""

    action: str
    share: str
    least: str
    votes_needed: int


class SchemePolicyResult(Result, frozen=True):
    """The figures of the certification scheme's policy, which hold by rules 3 and later."""

    surveillance_interval_months: int
    mark_use: str
    correction_days_max: int
    register_imports: str
    inspection_window_s_min: int


class CategoryResult(Result, frozen=True):
    """A category of products, the kinds of evidence that a certificate needs, and the standards of its examination."""

    number: int
    slug: str
    name: str
    name_zh: str
    evidence: list[str]
    standards: list[str]


class CatalogueResult(Result, frozen=True):
    """A version of the catalogue; at most one is in force."""

    version: int
    effective_from: Time
    source: str
    in_force: bool
    categories: list[CategoryResult]


class PolicyResult(Result, frozen=True):
    """What is in force, `planned_height` the first block by the figures that are planned, where any are."""

    rules: int
    figures: list[FigureResult]
    planned_height: int | None
    thresholds: list[ThresholdResult]
    catalogues: list[CatalogueResult]
    scheme: SchemePolicyResult
    as_of: AsOf


@method("gov_getPolicy", params=NoParams, result=PolicyResult, errors=(Code.UNAVAILABLE,), access=Access.PUBLIC)
def get_policy(services: Services, params: NoParams) -> PolicyResult:
    """The policy's figures with their ranges, those of the scheme, who decides on what, and the catalogues."""
    del params
    height = int(tip_of(services).height)
    state = CommittedState(services.reads.store)
    planned, catalogues = read_planned(state), read_catalogues(state)
    present, scheme = in_force(catalogues, now_ms(services)), read_scheme_policy(state)
    return PolicyResult(
        read_rules(state).at(height + 1),
        figures_of(read_policy(state), planned),
        None if planned is None else planned.height,
        thresholds_of(read_thresholds(state), len(voters(state))),
        [catalogue_result(item, present, read_standards(state, item.version)) for item in catalogues],
        SchemePolicyResult(
            scheme.surveillance_interval_months,
            scheme.mark_use.value,
            scheme.correction_days_max,
            scheme.register_imports.value,
            scheme.inspection_window_s_min,
        ),
        height,
    )


def figures_of(policy: Policy, planned: PlannedPolicy | None) -> list[FigureResult]:
    """Return the figures with what a vote may make of them."""
    rows = []
    for name in policy.__struct_fields__:
        value, found = getattr(policy, name), policy_range(name)
        assert found is not None, name
        least = max(found[0], min(LEAST.get(name, 0), value))
        rows.append(
            FigureResult(name, value, least, found[1], None if planned is None else getattr(planned.policy, name))
        )
    return rows


def thresholds_of(thresholds: Thresholds, voters_count: int) -> list[ThresholdResult]:
    """Return the share that decides on each type of action, in a fixed order."""
    rows = []
    for action in ACTION_TYPES:
        share = thresholds.share_of(action)
        least = LOWEST.get(action, Share.TWO_THIRDS)
        rows.append(ThresholdResult(action, share.value, least.value, votes_needed(voters_count, share)))
    return rows


def catalogue_result(
    item: Catalogue, present: Catalogue | None, standards: CatalogueStandards | None
) -> CatalogueResult:
    """Return a version of the catalogue as JSON has it."""
    categories = [
        CategoryResult(
            each.number,
            each.slug,
            each.name,
            each.name_zh,
            [kind.value for kind in each.evidence],
            [] if standards is None else list(standards.of(each.number)),
        )
        for each in item.categories
    ]
    is_present = present is not None and item.version == present.version
    return CatalogueResult(item.version, time_text(item.effective_from_ms), item.source, is_present, categories)


METHODS = (get_policy,)
