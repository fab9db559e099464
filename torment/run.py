"""One run: found and start the nodes, load them, torment them, heal, check; and the report of it.

Here: the order of a run. Not here: faults (`perturb`), checks (`checks`), the report (`report`), several runs
(`__main__`).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from chainnode.client import CallRefused, TimedOut, Unreachable
from torment.checks import Checker, read_answers
from torment.disks import full_disk_by
from torment.load import Bank, Job
from torment.manifest import Governed, Manifest, Perturbation, describe, node_of, to_json
from torment.nodes import Nodes, missing, nodes
from torment.perturb import Tormentor
from torment.report import Result, summary

SAMPLE_S: Final = 0.5
FINISH_S: Final = 60.0
PERTURBED_S_MAX: Final = 300.0
ORDER_RETURNS_S: Final = 30.0

Json = dict[str, Any]  # Any: JSON of the report


def run(manifest: Manifest, *, keep: bool = False) -> Result:
    """Run a manifest in a directory of its own, which stays where something was wrong."""
    lacks = missing(manifest)
    if lacks:
        return _result(manifest, "not done", lacks, 0.0)
    directory = Path(tempfile.mkdtemp(prefix=f"chainnode-torment-{manifest.seed}-"))
    (directory / "manifest.json").write_text(to_json(manifest))
    began = time.monotonic()
    result = _result(manifest, "failed", [], 0.0)
    with nodes(directory, manifest) as made:
        try:
            _run(made, result)
        except (TimedOut, Unreachable, CallRefused, subprocess.TimeoutExpired) as error:
            result.complaints.append(f"{type(error).__name__}: {error}")
    result.seconds = round(time.monotonic() - began, 1)
    result.verdict = "failed" if result.complaints else "passed"
    if result.complaints or keep:
        result.kept = str(directory)
        (directory / "summary.txt").write_text(summary(manifest, result))
    else:
        shutil.rmtree(directory, ignore_errors=True)
    return result


def _result(manifest: Manifest, verdict: str, complaints: list[str], seconds: float) -> Result:
    return Result(
        seed=manifest.seed,
        verdict=verdict,
        complaints=complaints,
        goals=manifest.goals,
        seconds=seconds,
        facts={},
        timeline=[],
        damage=[],
    )


def _run(made: Nodes, result: Result) -> None:
    manifest = made.manifest
    for name in made.names:
        made.start(name)
    for name in made.names:
        made.wait_ready(name)
    if manifest.small_disks:
        result.facts["full_disk_by"] = full_disk_by()
    with _load(made) as (load, record):
        started = time.monotonic()
        tormentor = Tormentor(made, started)
        result.timeline, result.damage, result.complaints = tormentor.timeline, tormentor.damage, tormentor.complaints
        with _sampling(made):
            threads = _Threads(tormentor, manifest, started)
            threads.wait(decisions=False)
            last = "the last fault"
            result.facts["order_returned_s"] = _order_returns(made, tormentor, threads.undecided(), last)
            threads.wait(decisions=True)
            if manifest.is_governed:
                _order_returns(made, tormentor, set(), "the last decision")
            time.sleep(max(0.0, started + manifest.seconds - time.monotonic()))
            tormentor.say("the load ends")
            told = _finish(load)
            tormentor.say("all is settled")
    _judge_load(told, manifest, result)
    checker = Checker(made, read_answers(record))
    checker.while_running(losses=tormentor.losses, sets=tormentor.council.sets, figures=tormentor.council.figures)
    for name in made.names:
        made.stop(name)
    checker.when_stopped()
    result.complaints += checker.complaints
    result.facts.update(checker.facts)


class _Threads:
    """All perturbations of a run, each on a thread of its own."""

    def __init__(self, tormentor: Tormentor, manifest: Manifest, started: float) -> None:
        self._end = started + manifest.seconds + PERTURBED_S_MAX
        self._threads = [
            (item, threading.Thread(target=self._perform, args=(tormentor, item, started), daemon=True))
            for item in manifest.perturbations
        ]
        for _, thread in self._threads:
            thread.start()

    def _perform(self, tormentor: Tormentor, item: Perturbation, started: float) -> None:
        time.sleep(max(0.0, started + item.at_s - time.monotonic()))
        try:
            tormentor.perform(item)
        except Exception as error:  # noqa: BLE001  a fault of the tormentor is the run's failure, not this thread's end
            tormentor.complain(f"{describe(item)}: {type(error).__name__}: {error}")

    def wait(self, *, decisions: bool) -> None:
        """Return when the last fault is undone; with `decisions`, once the members have decided on everything, too."""
        waited = [thread for item, thread in self._threads if decisions or not isinstance(item, Governed)]
        for thread in waited:
            thread.join(max(0.0, self._end - time.monotonic()))
        if any(thread.is_alive() for thread in waited):
            raise TimedOut("a perturbation did not end")

    def undecided(self) -> set[str]:
        """Return the nodes on which the members have yet to decide."""
        return {node_of(item) for item, thread in self._threads if isinstance(item, Governed) and thread.is_alive()}


def _order_returns(made: Nodes, tormentor: Tormentor, beside: set[str], what: str) -> float | None:
    """Return the seconds from now to the next block on every node but those that something is done to yet."""
    began = time.monotonic()
    names = [name for name in made.names if name not in beside]
    before = max((status["height"] for name in names if (status := made.status(name))), default=0)
    while time.monotonic() < began + ORDER_RETURNS_S:
        heights = [(made.status(name) or {}).get("height", 0) for name in names]
        if min(heights) > before:
            took = round(time.monotonic() - began, 1)
            tormentor.say(f"a block more on {len(names)} nodes, {took} s after {what}")
            return took
        time.sleep(0.1)
    tormentor.complain(f"no new block on every node within {ORDER_RETURNS_S:g} s of {what}: {heights}")
    return None


@contextmanager
def _load(made: Nodes) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    manifest = made.manifest
    banks = {
        name: Bank(name, made.rpc(name), made.token(name), str(made.net.keys / f"{name}-bank.key"))
        for name in made.names
    }
    record = made.directory / "answers.jsonl"
    load = manifest.load
    job = Job(
        chain_id=made.genesis.chain_id.hex(),
        record=str(record),
        seed=manifest.seed,
        banks=tuple(banks[name] for name in load.banks),
        others=tuple(banks.values()),
        batches_per_second=load.batches_per_second,
        events_a_batch=load.events_a_batch,
        lone_per_second=load.lone_per_second,
        finish_s=FINISH_S,
        forgetful=tuple(sorted(manifest.without_outbox)),
    )
    path = made.directory / "load.json"
    path.write_bytes(msgspec.json.encode(job))
    process = subprocess.Popen(
        [sys.executable, "-m", "torment.load", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", "the load could not begin"
        yield process, record
    finally:
        process.kill()
        process.wait()


def _finish(load: subprocess.Popen[str]) -> Json:
    said, _ = load.communicate("finish\n", timeout=3 * FINISH_S)
    told: Json = json.loads(said)
    return told


def _judge_load(told: Json, manifest: Manifest, result: Result) -> None:
    """What was not settled is a complaint, except where a bank's gateway lost the outbox that it signs from."""
    result.facts["disabled"] = told["disabled"]
    result.complaints += told["failures"]
    result.complaints += [f"{name} did not end" for name in told["stuck"]]
    allowed = {f"{name}-lone" for name in manifest.without_outbox}
    result.complaints += [
        f"{name} was refused for good: {why}" for name, why in told["disabled"].items() if name not in allowed
    ]
    if told["unsettled"] and not manifest.without_outbox:
        result.complaints.append(f"{told['unsettled']} events are unsettled {FINISH_S:g} s after the load ended")
    if told["pending"]:
        result.complaints.append(f"{told['pending']} events answered `accepted` are pending {FINISH_S:g} s later")


@contextmanager
def _sampling(made: Nodes) -> Iterator[None]:
    stopping = threading.Event()

    def sample() -> None:
        while not stopping.wait(SAMPLE_S):
            made.sample()

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()
