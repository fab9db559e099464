"""Sampled stacks: folded text, what threads they are of, what they cost by function. Pure: text in, figures out.

Folded text is what flame graphs are drawn from everywhere: a line for each stack, outermost frame first, frames joined
by `;`, then a blank and its weight. The first frame names the thread, as py-spy writes it: `thread (31400): index_0`.
Not here: sampling (`bench.sampling`), drawing (`bench.flame`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from heapq import nlargest
from operator import itemgetter

Stack = tuple[str, ...]
Folded = Mapping[Stack, float]
"""What each stack weighs: samples, or microseconds of processor time."""

LOOP = "loop"
UNSEEN = "threads without Python"
WAITING_IN_C = ("epoll_pwait (", "epoll_wait (", "PyThread_acquire_lock_timed (", "take_gil (")
WAITING = ("_worker (concurrent/futures/thread.py)",)
"""Where threads wait: in these functions, of libc and of Python itself, or with these innermost frames of Python."""

_THREAD = re.compile(r"^thread \((\d+)\)(?:: (.*))?$")
_NUMBER = re.compile(r"_\d+$")
_PYTHON = re.compile(r"\((<[^()]*>|[^()]*\.py)\)$")
_LINE = re.compile(r":\d+\)$")


def unfold(text: str) -> dict[Stack, float]:
    """Return the stacks of folded text, functions without the lines at which they begin.

    Raises ValueError, which names the line, where it is none.
    """
    found: dict[Stack, float] = {}
    for number, line in enumerate(text.splitlines(), 1):
        frames, _, weight = line.rpartition(" ")
        if not frames or not weight.isdigit():
            raise ValueError(f"line {number} is no folded stack: {line[:80]!r}")
        stack = tuple(_LINE.sub(")", frame) for frame in frames.split(";"))
        found[stack] = found.get(stack, 0) + int(weight)
    return found


def fold(stacks: Folded) -> str:
    """Return the folded text of stacks, in a fixed order; weights become whole."""
    return "".join(f"{';'.join(stack)} {round(weight)}\n" for stack, weight in sorted(stacks.items()))


def thread_number(frame: str) -> int | None:
    """Return the operating system's number of a thread, from the frame that names it."""
    found = _THREAD.match(frame)
    return int(found[1]) if found else None


def thread_name(frame: str) -> str:
    """Return what a thread does: the main thread runs the loop, and threads of one pool have one name."""
    found = _THREAD.match(frame)
    name = found[2] or frame if found else frame
    return LOOP if name == "MainThread" else _NUMBER.sub("", name)


def by_thread(stacks: Folded) -> dict[str, dict[Stack, float]]:
    """Return the stacks of each thread by its name, the heaviest first, without the frames that all of them share."""
    found: dict[str, dict[Stack, float]] = defaultdict(dict)
    for stack, weight in stacks.items():
        of_thread = found[thread_name(stack[0])]
        of_thread[stack[1:]] = of_thread.get(stack[1:], 0) + weight
    trimmed = {name: _trimmed(each) for name, each in found.items()}
    return dict(sorted(trimmed.items(), key=lambda item: -sum(item[1].values())))


def _trimmed(stacks: Folded) -> dict[Stack, float]:
    """Return the stacks without the frames above the last that all share: how a thread was started tells nothing."""
    shared = _shared([stack for stack in stacks if stack])
    return {stack[max(0, shared - 1) :]: weight for stack, weight in stacks.items()}


def _shared(stacks: Collection[Stack]) -> int:
    """Return with how many frames all stacks begin alike."""
    if not stacks:
        return 0
    first, last = min(stacks), max(stacks)  # what these two share, all that lie between them share as well
    pairs = enumerate(zip(first, last, strict=False))
    return next((at for at, (one, other) in pairs if one != other), min(len(first), len(last)))


def working(stacks: Folded) -> dict[Stack, float]:
    """Return the stacks of threads that did not wait, their frames of Python alone.

    A sampler that stops all threads wakes those that wait, and sees them at work in its next sample.
    """
    found: dict[Stack, float] = {}
    for (thread, *frames), weight in stacks.items():
        if any(frame.startswith(WAITING_IN_C) for frame in frames):
            continue
        kept = (thread, *filter(_PYTHON.search, frames))
        if kept[-1] not in WAITING:
            found[kept] = found.get(kept, 0) + weight
    return found


def charged(stacks: Folded, cpu_us: Mapping[int, float]) -> dict[str, dict[Stack, float]]:
    """Return the stacks of each thread in its processor time, which the operating system counted by thread number.

    A thread's time is shared among its stacks as samples of its work were; what threads used of which there is no such
    sample stands by itself.
    """
    at_work = working(stacks)
    sampled: dict[int | None, float] = defaultdict(float)
    for stack, weight in at_work.items():
        sampled[thread_number(stack[0])] += weight
    scaled: dict[Stack, float] = {}
    for stack, weight in at_work.items():
        number = thread_number(stack[0])
        if number is not None and number in cpu_us:
            scaled[stack] = weight / sampled[number] * cpu_us[number]
    names = {thread_number(stack[0]): thread_name(stack[0]) for stack in stacks}
    for number, us in cpu_us.items():
        if number not in sampled and us > 0:
            alone = (names.get(number, UNSEEN),)
            scaled[alone] = scaled.get(alone, 0.0) + us
    return by_thread(scaled)


@dataclass(frozen=True)
class Row:
    """A function: what it cost by itself, and with all that it called."""

    name: str
    own: float
    total: float


def top(stacks: Folded, count: int) -> list[Row]:
    """Return the functions that cost most by themselves; one that calls itself is counted once a stack."""
    own: dict[str, float] = defaultdict(float)
    total: dict[str, float] = defaultdict(float)
    for stack, weight in stacks.items():
        for name in set(stack):
            total[name] += weight
        if stack:
            own[stack[-1]] += weight
    return [Row(name, weight, total[name]) for name, weight in nlargest(count, own.items(), key=itemgetter(1))]


def table(threads: Mapping[str, Folded], count: int, unit: str) -> str:
    """Return the dearest functions of each thread as text: by itself, with what it called, share of the thread."""
    lines: list[str] = []
    whole = sum(_weight(stacks) for stacks in threads.values()) or 1.0
    for name, stacks in threads.items():
        weight = _weight(stacks)
        lines.append(f"{name}: {weight:.2f} {unit}, {weight / whole:.0%} of all")
        lines += [
            f"{row.own:9.2f} {row.total:9.2f} {row.own / (weight or 1.0):6.1%}  {row.name}"
            for row in top(stacks, count)
        ]
    return "\n".join(["      own     total  share  function", *lines])


def _weight(stacks: Folded) -> float:
    return sum(stacks.values())
