"""How a run ended: its result, the text that a person reads, and the table of a set of runs.

Not here: running (`run`), judging (`checks`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from torment.manifest import Links, Manifest

Json = dict[str, Any]  # Any: JSON of the report

HEAD = ("seed", "nodes", "links", "covers", "load", "committed", "epochs", "order after", "")


class Result(msgspec.Struct, kw_only=True):
    """How a run ended: `verdict` is `passed`, `failed`, or `not done` where the machine lacks what it needs."""

    seed: int
    verdict: str
    complaints: list[str]
    goals: tuple[str, ...]
    seconds: float
    facts: Json
    timeline: list[tuple[float, str]]
    damage: list[Json]
    kept: str = ""

    def as_row(self) -> Json:
        """Return the result as one JSON object, without the timeline."""
        row: Json = msgspec.to_builtins(self)
        del row["timeline"]
        return row


def summary(manifest: Manifest, result: Result) -> str:
    """Return a run as a person reads it: verdict, timeline, and how to run it again."""
    load = manifest.load
    through = "a proxy" if manifest.links is Links.PROXY else "network namespaces"
    lines = [
        f"seed {manifest.seed}: {result.verdict} in {result.seconds:g} s",
        f"  {manifest.nodes} nodes, links through {through}, view time-out {manifest.view_timeout_ms} ms",
        f"  {len(load.banks)} banks: {load.batches_per_second:g} batches of {load.events_a_batch}"
        f" and {load.lone_per_second:g} lone events a second each, {manifest.seconds:g} s",
        f"  covers {', '.join(manifest.goals)}",
    ]
    lines += [f"  {at_s:6.1f}  {what}" for at_s, what in sorted(result.timeline)]
    facts = {name: value for name, value in result.facts.items() if value not in ({}, None)}
    lines += [f"  {name}: {value}" for name, value in facts.items()]
    lines += [f"  WRONG: {what}" for what in result.complaints]
    if result.verdict != "passed":
        lines.append(f"  again: make e2e SEED={manifest.seed}")
    if result.kept:
        lines.append(f"  kept: {result.kept}")
    return "\n".join(lines) + "\n"


def table(runs: Iterable[tuple[Manifest, Result]]) -> str:
    """Return a set of runs as a table in Markdown, `load` in events a second."""
    rows = [HEAD, ("---",) * len(HEAD), *(_row(manifest, result) for manifest, result in runs)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _row(manifest: Manifest, result: Result) -> tuple[str, ...]:
    load, facts = manifest.load, result.facts
    events_a_second = len(load.banks) * (load.batches_per_second * load.events_a_batch + load.lone_per_second)
    nodes = f"{manifest.nodes}+{len(manifest.joiners)}" if manifest.joiners else str(manifest.nodes)
    returned = facts.get("order_returned_s")
    return (
        str(manifest.seed),
        nodes,
        manifest.links.value,
        ", ".join(f"`{goal}`" for goal in manifest.goals),
        f"{events_a_second:g}",
        f"{facts.get('answered_committed', 0):,}",
        str(facts.get("epoch", 0)),
        "never" if returned is None else f"{returned:g} s",
        result.verdict,
    )
