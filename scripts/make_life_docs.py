"""Writes the diagram and the table of a certificate's life into docs/domain.md, from the tables of transitions.

Run `python scripts/make_life_docs.py` after a row of `ledger.certificate_transitions`, `ledger.scheme_transitions` or
`ledger.inspection_reports` was changed: a test holds the page to them. What leads back by an appeal that is upheld is
what led there.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from ledger.certificate_records import State  # noqa: E402  # the tree is found by the line above
from ledger.certificate_transitions import (  # noqa: E402  # as above
    GRANT,
    REFUSE,
    REVOKE,
    SUSPEND,
    TRANSITIONS,
    Transition,
)
from ledger.inspection_reports import INSPECTED_TRANSITIONS  # noqa: E402  # as above
from ledger.registry import KINDS  # noqa: E402  # as above
from ledger.scheme_transitions import DECIDE_APPEAL, EXTEND, SCHEME_TRANSITIONS, SURVEIL  # noqa: E402  # as above

PAGE = ROOT / "docs/domain.md"
BEGIN, END = "<!-- life: written by scripts/make_life_docs.py -->\n", "<!-- life: end -->\n"
ROWS: tuple[Transition, ...] = TRANSITIONS + SCHEME_TRANSITIONS + INSPECTED_TRANSITIONS
AGAINST = (REFUSE, SUSPEND, REVOKE, SURVEIL)
"""What an appeal that is upheld undoes; a reduction changes no state."""
NOTHING = "[*]"

Edge = tuple[str, str]


def section() -> str:
    """Return what stands between the marks."""
    return "\n".join([*diagram(), "", *table()]) + "\n"


def diagram() -> list[str]:
    """Return the states and what leads from one to the next, as mermaid draws it."""
    labels: dict[Edge, list[str]] = {}
    for row in ROWS:
        for edge in edges(row):
            labels.setdefault(edge, []).append(short(row))
    for state in sorted({to for row in ROWS for to in row.also_to} & {State.ACTIVE, State.SUSPENDED}):
        labels.setdefault((state, State.EXPIRED.value), []).append("its term ends")
    order = {name: place for place, name in enumerate([NOTHING, *(state.value for state in State)])}
    drawn = sorted(labels.items(), key=lambda item: (order[item[0][0]], order[item[0][1]]))
    return ["```mermaid", "stateDiagram-v2", *(f"    {a} --> {b}: {', '.join(said)}" for (a, b), said in drawn), "```"]


def edges(row: Transition) -> list[Edge]:
    """Return from where to where an event leads. A change's application, once extended, is the certificate's again."""
    if row is DECIDE_APPEAL:
        back = [(there, here) for undone in AGAINST for here, there in edges(undone) if here != there]
        stays = [(state, state) for state in _named(row.from_states - {State.EXPIRED})]
        return [*dict.fromkeys(back), *stays]
    if row in (GRANT, EXTEND):
        return [(State.REVIEWED.value, State.ACTIVE.value)]
    if row.to_state is State.APPLIED:
        return [(NOTHING, State.APPLIED.value)]
    found = []
    for here in _named(row.from_states):
        ends = {here, *_named(row.also_to)} if row.to_state is None else {row.to_state.value}
        found += [(here, there) for there in sorted(ends)]
    return found


def table() -> list[str]:
    """Return a row for each event: who may, when, and what it brings."""
    lines = [
        "| kind | event | rules | from | to | who | evidence with it |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in ROWS:
        cells = (
            str(row.kind),
            f"`{row.name}`",
            str(KINDS[row.kind].rules_min),
            ", ".join(_named(row.from_states)) or "nothing",
            _leads(row),
            "; ".join(party.value for party in row.parties),
            _evidence(row),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _leads(row: Transition) -> str:
    if row.to_state is not None:
        return row.to_state.value
    return f"as before, or {' or '.join(_named(row.also_to))}" if row.also_to else "as before"


def _evidence(row: Transition) -> str:
    needed, other = sorted(row.needs), sorted(row.brings - row.needs)
    return "; ".join([*needed, *([f"may bring {', '.join(other)}"] if other else [])]) or "none"


def _named(states: Iterable[State | None]) -> list[str]:
    """Return states in the order of a life."""
    order = list(State)
    return [state.value for state in sorted((state for state in states if state is not None), key=order.index)]


def short(row: Transition) -> str:
    """Return an event's name without what all have in common."""
    return row.name.removeprefix("certificate.")


def written(page: str) -> str:
    """Return the page with the section as it is now; ValueError where the marks are missing."""
    head, found, rest = page.partition(BEGIN)
    _, closed, tail = rest.partition(END)
    if not found or not closed:
        raise ValueError(f"docs/domain.md: expected a line {BEGIN.strip()} and a line {END.strip()} after it")
    return head + BEGIN + section() + END + tail


def main() -> int:
    """Write the page."""
    PAGE.write_text(written(PAGE.read_text("utf-8")), "utf-8")
    print(f"{PAGE.relative_to(ROOT)}: {len(ROWS)} events")
    return 0


if __name__ == "__main__":
    sys.exit(main())
