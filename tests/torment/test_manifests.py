"""What seeds are made into: the same each time, within what the protocol tolerates, and together every fault."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from primitives.errors import InputError
from torment.generate import AMENDED, GOALS, LIVES, SEEDS, SETTLE_S, generate
from torment.manifest import (
    LEADER,
    Amend,
    Clock,
    Cut,
    Damaged,
    Delay,
    FillDisk,
    Flip,
    Join,
    Kill,
    Leave,
    Links,
    Loss,
    Manifest,
    Narrow,
    Pause,
    Perturbation,
    PowerLoss,
    Readmit,
    Stop,
    Upgrade,
    Wipe,
    Wiped,
    describe,
    loses_vote,
    node_of,
    read_manifest,
    to_json,
)

MANIFESTS = [generate(seed) for seed in range(1, SEEDS + 1)]
MANY = [generate(seed) for seed in range(1, 400)]


@dataclass(frozen=True)
class Kind:
    """A fault that must be met at least once in a full set, however the generator names its goals."""

    name: str
    met: Callable[[Manifest, Perturbation], bool]


KINDS = [
    Kind("kill -9 of one node", lambda _, item: isinstance(item, Kill) and item.node != LEADER),
    Kind("kill -9 of the leader", lambda _, item: isinstance(item, Kill) and item.node == LEADER),
    Kind("power loss", lambda _, item: isinstance(item, PowerLoss)),
    Kind("a pause below the time-out", lambda run, item: _pauses(item) and item.for_s * 1_000 < run.view_timeout_ms),
    Kind("a pause above the time-out", lambda run, item: _pauses(item) and item.for_s * 1_000 > run.view_timeout_ms),
    Kind("a pause of the leader", lambda _, item: isinstance(item, Pause) and item.node == LEADER),
    Kind("a restart", lambda _, item: isinstance(item, Stop) and not item.for_s),
    Kind("a graceful stop", lambda _, item: isinstance(item, Stop) and item.for_s > 0),
    *(
        Kind(f"a wiped {what}", lambda _, item, what=what: isinstance(item, Wipe) and item.what is what)
        for what in Wiped
    ),
    *(
        Kind(f"a flipped byte: {file}", lambda _, item, file=file: isinstance(item, Flip) and item.file is file)
        for file in Damaged
    ),
    Kind("a full disk", lambda _, item: isinstance(item, FillDisk)),
    Kind("a clock within the drift", lambda _, item: isinstance(item, Clock) and abs(item.offset_s) < 2),
    Kind("a clock set back", lambda _, item: isinstance(item, Clock) and item.offset_s < -10),
    Kind("a clock set ahead", lambda _, item: isinstance(item, Clock) and item.offset_s > 10),
    Kind("delay", lambda _, item: isinstance(item, Delay) and not item.one_way),
    Kind("delay one way", lambda _, item: isinstance(item, Delay) and item.one_way),
    Kind("loss", lambda _, item: isinstance(item, Loss)),
    Kind("a cut that resets", lambda run, item: isinstance(item, Cut) and not item.stalled),
    Kind("a cut without a word", lambda run, item: isinstance(item, Cut) and item.stalled and not item.one_way),
    Kind("a cut of one direction", lambda _, item: isinstance(item, Cut) and item.one_way),
    Kind("a narrow proxy", lambda run, item: isinstance(item, Narrow) and run.links is Links.PROXY),
    Kind("a narrow cable", lambda run, item: isinstance(item, Narrow) and run.links is Links.NAMESPACES),
    Kind("a validator that joins", lambda _, item: isinstance(item, Join)),
    Kind("a joiner and cables", lambda run, item: isinstance(item, Join) and run.links is Links.NAMESPACES),
    Kind("a validator that leaves", lambda _, item: isinstance(item, Leave)),
    Kind("another policy", lambda _, item: isinstance(item, Amend)),
    Kind("new keys for a wiped validator", lambda _, item: isinstance(item, Readmit)),
    Kind("an upgrade of a running network", lambda _, item: isinstance(item, Upgrade)),
    Kind("a pulled cable", lambda run, item: isinstance(item, Cut) and run.links is Links.NAMESPACES),
]


def _pauses(item: Perturbation) -> bool:
    return isinstance(item, Pause) and item.node != LEADER


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_set_meets_every_kind_of_fault(kind: Kind) -> None:
    assert any(kind.met(run, item) for run in MANIFESTS for item in run.perturbations)


def test_the_set_reaches_every_goal_and_both_sizes_of_network() -> None:
    assert {goal for run in MANIFESTS for goal in run.goals} == {*GOALS, *LIVES, AMENDED}
    assert {run.nodes for run in MANIFESTS} == {4, 7}


def test_a_seed_is_one_manifest() -> None:
    assert [to_json(generate(run.seed)) for run in MANIFESTS] == [to_json(run) for run in MANIFESTS]
    assert len({to_json(run) for run in MANY}) == len(MANY)


def test_at_most_f_nodes_lose_their_vote_and_none_twice() -> None:
    for run in MANY:
        lost = [node_of(item) for item in run.perturbations if loses_vote(item)]
        assert len(lost) == len(set(lost)) <= (run.nodes - 1) // 3
        assert run.voteless == set(lost) - {item.node for item in run.perturbations if isinstance(item, Readmit)}


def test_no_node_meets_two_faults_at_once() -> None:
    for run in MANY:
        busy: dict[str, float] = {}
        for item in run.perturbations:
            if isinstance(item, Leave | Amend):  # a vote is no fault
                continue
            names = run.names if node_of(item) in (LEADER, "") else (node_of(item),)
            for name in names:
                assert item.at_s >= busy.get(name, 0.0), (run.seed, describe(item))
                if name in run.founders:
                    busy[name] = round(item.at_s + item.for_s + SETTLE_S, 1) - 0.1
        assert run.seconds > max(item.at_s + item.for_s for item in run.perturbations)


def test_the_set_never_falls_below_its_founders_number_and_keeps_who_can_vote() -> None:
    for run in MANY:
        joins = [item for item in run.perturbations if isinstance(item, Join)]
        leaves = [item for item in run.perturbations if isinstance(item, Leave)]
        assert len(leaves) <= len(joins) <= 1
        assert len(run.validators) >= run.nodes
        assert run.voteless <= run.validators
        assert all(leave.at_s > join.at_s for join in joins for leave in leaves)


def test_only_who_lost_its_vote_gets_new_keys_and_only_then() -> None:
    for run in MANY:
        lost = {node_of(item): item.at_s for item in run.perturbations if loses_vote(item)}
        for item in run.perturbations:
            assert not isinstance(item, Readmit) or lost[item.node] < item.at_s


def test_an_upgrade_takes_one_node_after_the_other_and_each_at_most_once() -> None:
    for run in MANY:
        times = [item.at_s for item in run.perturbations if isinstance(item, Upgrade)]
        names = [item.node for item in run.perturbations if isinstance(item, Upgrade)]
        assert len(set(times)) == len(times)
        assert len(set(names)) == len(names)
        assert not names or len(names) >= run.nodes - 1


def test_a_manifest_reads_back_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    for run in MANIFESTS:
        path.write_text(to_json(run))
        assert read_manifest(path) == run


@pytest.mark.parametrize(
    ("what", "by"),
    [('"kind":"kill"', '"kind":"hug"'), ('"nodes": 4', '"nodes": "four"'), ("bank-", "bank-z"), ("{", "")],
)
def test_what_is_no_manifest_is_refused_with_its_file(tmp_path: Path, what: str, by: str) -> None:
    path = tmp_path / "manifest.json"
    text = to_json(generate(1))
    assert what in text
    path.write_text(text.replace(what, by))
    with pytest.raises(InputError, match=r"manifest\.json"):
        read_manifest(path)


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        ("view_timeout_ms", 0, "view_timeout_ms"),
        ("hurry", 1, "unknown field `hurry`"),
        ("load.batches_per_second", 0, "batches_per_second"),
        ("load.lone_per_second", -1.0, "lone_per_second"),
        ("load.events_a_batch", 1_025, "events_a_batch"),
        ("load.banks", [], "a load of nobody: expected at least one bank"),
        ("load.banks", ["bank-z"], "no such bank: expected bank-a or bank-b or bank-c or bank-d, got bank-z"),
        ("perturbations.0.at_s", -1, r"perturbations\[0\]"),
        ("perturbations.0.for_s", 1e9, r"perturbations\[0\]"),
        ("perturbations.0", {"kind": "loss", "at_s": 1, "node": "bank-a", "share": 2}, "share"),
        ("perturbations.0", {"kind": "delay", "at_s": 1, "node": "bank-a", "delay_ms": -9, "jitter_ms": 0}, "delay_ms"),
        ("perturbations.0", {"kind": "join", "at_s": 1, "node": "../b", "member": "bank-a"}, "regex"),
        ("perturbations.0", {"kind": "join", "at_s": 1, "node": "b", "member": "lab"}, "no such bank"),
        ("perturbations.0", {"kind": "join", "at_s": 1, "node": "bank-b", "member": "bank-a"}, "there already"),
    ],
)
def test_a_run_that_nobody_can_make_is_refused_before_it_begins(
    tmp_path: Path, where: str, value: object, said: str
) -> None:
    path = tmp_path / "manifest.json"
    manifest = json.loads(to_json(generate(1)))
    *way, last = [int(key) if key.isdigit() else key for key in where.split(".")]
    place = manifest
    for key in way:
        place = place[key]
    place[last] = value
    path.write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=rf"manifest\.json.*{said}"):
        read_manifest(path)


def test_a_namespace_is_asked_for_only_where_links_are_cables() -> None:
    for run in MANY:
        kinds = {type(item) for item in run.perturbations}
        if run.links is Links.NAMESPACES:
            assert not kinds & {Delay, Loss}
