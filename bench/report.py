"""The benchmark's tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Figures = Mapping[str, Any]  # Any: JSON

PHASES = ("received", "ordered", "committed", "answered")


def table(figures: dict[str, Any]) -> str:  # Any: JSON
    """Return any figures as lines of name and value, nested ones indented."""
    return "\n".join(_lines(figures, ""))


def _lines(figures: dict[str, Any], indent: str) -> list[str]:
    lines: list[str] = []
    for name, value in figures.items():
        title = f"{indent}{name.replace('_', ' ')}"
        if isinstance(value, dict):
            lines += [title, *_lines(value, indent + "  ")]
        else:
            shown = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
            lines.append(f"{title:<44} {shown}")
    return lines


def loads(figures: Figures) -> dict[str, Figures]:
    """Return the workloads whose cost was measured, by name; the open loops under names of their own."""
    found = {name: value for name, value in figures.items() if isinstance(value, dict) and "phases_ms" in value}
    found |= {f"open {name}": value for name, value in figures.get("open", {}).items()}
    return found


def report(figures: Figures) -> str:
    """Return the benchmark's figures as tables: cost, latency by phase, what else an event takes, and the rest."""
    held = figures["machine"]
    parts = [
        f"{figures['nodes']} validators, {figures['runs']} runs each; {held['cores']} cores of {held['cpu']}, "
        f"{held['memory_gib']} GiB, Linux {held['kernel']}, Python {held['python']}, "
        f"load average before: {held['load_average']}"
    ]
    found = loads(figures)
    costs = {name: each for name, each in found.items() if "events_per_second" in each}
    if costs:
        parts += [_costs(costs), _latencies(found), _resources(costs)]
    elif found:
        parts.append(_latencies(found))
    rest = {name: figures[name] for name in ("restart", "help") if name in figures}
    if rest:
        parts.append(table(rest))
    return "\n\n".join(parts)


def _costs(found: Mapping[str, Figures]) -> str:
    head = ["", "events/s", "µs/event+validator", "of it loop", "floor", "verification", "node/floor", "s a run"]
    rows = [
        [
            name,
            f"{each['events_per_second']:,}",
            figure(each["cpu_us_per_event_per_validator"]),
            figure(each["loop_cpu_us_per_event_per_validator"]),
            figure(each.get("floor_cpu_us_per_event")),
            figure(each.get("floor_verification_us_per_event")),
            figure(each.get("node_floor_ratio")),
            figure(each["run_seconds"]),
        ]
        for name, each in found.items()
    ]
    extra = [
        f"an event in {name} costs its gateway {each['gateway_extra_us_per_event']} µs more than in a signed batch"
        for name, each in found.items()
        if "gateway_extra_us_per_event" in each
    ]
    return "\n".join([aligned([head, *rows]), *extra])


def _latencies(found: Mapping[str, Figures]) -> str:
    head = ["ms since arrival: p50, p95, p99", *PHASES]
    rows = [
        [
            name,
            *(
                "  ".join(figure(each["phases_ms"].get(phase, {}).get(f"p{share}")) for share in (50, 95, 99))
                for phase in PHASES
            ),
        ]
        for name, each in found.items()
    ]
    return aligned([head, *rows])


def _resources(found: Mapping[str, Figures]) -> str:
    head = ["bytes an event", "on disk", "to peers", "from clients", "to clients"]
    head += ["events/block", "fsyncs/1,000", "peak MiB", "anonymous MiB", "driver µs", "refused"]
    rows = []
    for name, each in found.items():
        wire = each["wire_bytes_per_event"]
        rows.append(
            [
                name,
                figure(each["disk_bytes_per_event"]),
                figure(wire["sent_to_peers_per_validator"]),
                figure(wire["sent_by_clients"]),
                figure(wire["answered_to_clients"]),
                figure(each["events_per_block"]),
                figure(each["fsyncs_per_1000_events"]),
                figure(each["rss_peak_mib"]),
                figure(each["rss_anonymous_mib"]),
                figure(each["driver_cpu_us_per_event"]),
                f"{sum(each['refusals'].values()):,}",
            ]
        )
    return aligned([head, *rows])


def figure(value: float | None) -> str:
    """Return a figure with as many digits as it is good for; a dash where there is none."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.1f}" if abs(value) >= 10 else f"{value:,.2f}"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as columns: the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
