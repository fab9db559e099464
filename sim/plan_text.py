"""A scenario of the simulator as text: a line is one thing, and every line that cannot be meant is refused by number.

`to_text` writes what `parse` takes back. What could not be run (a node that is not there, more liars than f, a strike
without its amounts) is refused here, so that a run breaks a rule only by what nodes do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from ledger.batch_headers import BATCH_EVENTS_MAX
from ledger.members import MEMBER_ID_PATTERN
from ledger.rules import RULES_NEWEST, RULES_SCHEME
from ledger.shape_errors import DESCRIPTIONS, NODE_NAME_PATTERN
from primitives.errors import InputError
from primitives.hashing import RULES_FIRST
from sim.cluster import RECORDS_MAX
from sim.lives import Life, life_line
from sim.membership import Change, Deed, change_line, parsed_change
from sim.motions import Motion, action_of, motion_line
from sim.network import Weather
from sim.plan import BEHAVIOUR_NAMES, FORGETFUL, NODES_MAX, NODES_MIN, Fate, Fault, Load, Scenario, Strike

FILE_BYTES_MAX: Final = 1 << 20
TIME_MS_MAX: Final = 24 * 3_600_000
EXTRAS_MAX: Final = 20
"""Observers, and members without a validator."""
LOG_RECORDS_MAX: Final = 1_000_000
LIFE_STEPS_MAX: Final = 10_000
SEED_MAX: Final = 2**64

FORMS: Final = {
    "seed": "seed NUMBER",
    "nodes": "nodes COUNT",
    "observers": "observers COUNT",
    "guests": "guests COUNT",
    "records": "records COUNT",
    "duration": "duration MS",
    "weather": "weather loss SHARE replay SHARE delay_ms MS tail_ms MS tail_share SHARE",
    "malicious": "malicious NODE BEHAVIOUR",
    "batch": "batch AT_MS source BANK events COUNT",
    "strike": "strike AT_MS FAULT lasts MS [nodes NODE ...] [amounts NUMBER ...]",
    "change": "change AT_MS DEED by BANK of WHO [amounts NUMBER ...]",
    "rules": "rules VERSION",
    "motion": "motion AT_MS by BANK WORD ... [approved by BANK ...] [rejected by BANK ...]",
    "life": "life AT_MS of BANK every MS steps COUNT",
    "core": "core NODE ... others dead|cut",
}
NEEDED: Final = ("seed", "nodes", "duration", "weather")
MANY: Final = frozenset({"malicious", "batch", "strike", "change", "motion", "life"})

AMOUNTS: Final = {
    Fault.CRASH: 2,
    Fault.WRITE_CRASH: 2,
    Fault.LEADER_CRASH: 2,
    Fault.SLOW_LINK: 1,
    Fault.SKEW: 1,
    Fault.JUMP: 1,
    Fault.SLOW_DISK: 1,
    Fault.FULL_DISK: 2,
    Fault.FLIPPED_LOG: 3,
    Fault.FLIPPED_ROW: 3,
    Fault.REKEY: 2,
}
"""How many amounts a strike of a kind has; a power loss has three for each of its nodes, the others none."""
WRITTEN: Final = frozenset({Fault.CRASH, Fault.WRITE_CRASH, Fault.LEADER_CRASH, Fault.FULL_DISK})
"""Strikes whose first amount says what a write leaves on the disk."""
WRITTEN_MAX: Final = 3
SHARE_MAX: Final = 999
"""In thousandths: a torn frame is not whole, and there is no byte behind a log's last."""
BIT_MAX: Final = 7
DISK_MS_MAX: Final = 5_000
"""What a slow disk is still writing when the faults end is written within the pause that order has to return."""
CHANGE_AMOUNTS: Final = {Deed.JOIN: (0, 2), Deed.LEAVE: (0, 1), Deed.EXCLUDE: (0,), Deed.STOP_SOURCE: (0,)}


# --- writing


def to_text(scenario: Scenario) -> str:
    """Return the scenario as lines that `parse` takes back."""
    weather = " ".join(f"{field.name} {getattr(scenario.weather, field.name)}" for field in fields(Weather))
    lines = [
        f"seed {scenario.seed}",
        f"nodes {scenario.nodes}",
        f"observers {scenario.observers}",
        f"duration {scenario.chaos_ms}",
        f"weather {weather}",
        *(f"malicious {node} {name}" for node, name in scenario.malicious),
        *(f"batch {load.at_ms} source {load.source} events {load.events}" for load in scenario.loads),
        *map(_strike_line, scenario.strikes),
        *map(change_line, scenario.changes),
        *map(motion_line, scenario.motions),
        *map(life_line, scenario.lives),
    ]
    if scenario.rules != RULES_FIRST:
        lines.insert(3, f"rules {scenario.rules}")
    if scenario.guests:
        lines.insert(3, f"guests {scenario.guests}")
    if scenario.records_max != RECORDS_MAX:
        lines.insert(3, f"records {scenario.records_max}")
    if scenario.core:
        lines.append(f"core {' '.join(map(str, scenario.core))} others {scenario.fate}")
    return "\n".join(lines) + "\n"


def _strike_line(strike: Strike) -> str:
    words = [f"strike {strike.at_ms} {strike.fault} lasts {strike.lasts_ms}"]
    words += ["nodes", *map(str, strike.nodes)] if strike.nodes else []
    words += ["amounts", *map(str, strike.amounts)] if strike.amounts else []
    return " ".join(words)


# --- reading


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    words: tuple[str, ...]

    def refused(self, what: str, expected: object, got: object) -> InputError:
        return InputError(what, where=f"line {self.number}", expected=expected, got=got)

    def count(self, text: str, least: int, most: int, what: str = "number") -> int:
        """Return a whole number of this line. Raises `InputError`."""
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 20) or not least <= int(text) <= most:
            raise self.refused(f"{what} of a {self.words[0]} line", f"a whole number from {least} to {most}", text)
        return int(text)

    def share(self, text: str) -> float:
        """Return a share of this line. Raises `InputError`."""
        try:
            share = float(text)
        except ValueError:
            share = -1.0
        if not 0.0 <= share <= 1.0:
            raise self.refused("share of a weather line", "a number from 0 to 1", text)
        return share

    def one_of(self, text: str, names: Iterable[str], what: str) -> str:
        """Return a name of this line. Raises `InputError`."""
        known = tuple(names)
        if text not in known:
            raise self.refused(f"no such {what}", " or ".join(known), text)
        return text

    def shaped(self, fits: bool) -> None:
        """Raise `InputError` unless the words have the form of their line."""
        if not fits:
            raise self.refused("not a line of this form", FORMS[self.words[0]], " ".join(self.words))


def read_scenario(path: Path) -> Scenario:
    """Return the scenario of a file. Raises `InputError`, which names the file and the line that cannot be read."""
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
        if len(data) > FILE_BYTES_MAX:
            raise InputError("too large for a scenario", where=str(path), expected=f"at most {FILE_BYTES_MAX} bytes")
        return parse(data.decode("utf-8"))
    except OSError as error:
        raise InputError("cannot be read", where=str(path), got=error.strerror) from None
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InputError(
            "cannot be read", where=f"{path}, line {line}", expected="a text in UTF-8", got=data[error.start :][:8]
        ) from None
    except InputError as error:
        where = f"{path}, {error.where}" if error.where else str(path)
        if error.where == str(path):
            raise
        raise InputError(error.what, where=where, expected=error.expected, got=error.got) from None


def parse(text: str) -> Scenario:
    """Return the scenario of its text; `#` starts a comment. `InputError` names the line that cannot be read."""
    found: dict[str, list[_Line]] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        words = tuple(raw.split("#")[0].split())
        if not words:
            continue
        line = _Line(number, words)
        if words[0] not in FORMS:
            raise line.refused("unknown line of a scenario", " or ".join(FORMS), words[0])
        if words[0] in found and words[0] not in MANY:
            raise line.refused(f"a second {words[0]} line", f"one, as on line {found[words[0]][0].number}", raw)
        found.setdefault(words[0], []).append(line)
    for name in NEEDED:
        if name not in found:
            raise InputError(f"no {name} line", expected=FORMS[name])
    return _parsed(found)


def _parsed(found: dict[str, list[_Line]]) -> Scenario:
    nodes = _single(found, "nodes", NODES_MIN, NODES_MAX)
    guests = _single(found, "guests", 0, EXTRAS_MAX, 0)
    observers = _single(found, "observers", 0, EXTRAS_MAX, 0)
    chaos_ms = _single(found, "duration", 0, TIME_MS_MAX)
    (weather,) = found["weather"]
    scenario = Scenario(
        seed=_single(found, "seed", 0, SEED_MAX),
        nodes=nodes,
        weather=_weather(weather),
        strikes=tuple(_strike(line, nodes, observers, chaos_ms) for line in found.get("strike", [])),
        malicious=tuple(_malicious(line, nodes) for line in found.get("malicious", [])),
        loads=tuple(_load(line, nodes + guests) for line in found.get("batch", [])),
        observers=observers,
        chaos_ms=chaos_ms,
        changes=tuple(_change(line, nodes + guests, chaos_ms) for line in found.get("change", [])),
        guests=guests,
        records_max=_single(found, "records", 1, LOG_RECORDS_MAX, RECORDS_MAX),
        motions=tuple(_motion(line, nodes + guests) for line in found.get("motion", [])),
        rules=_single(found, "rules", RULES_FIRST, RULES_NEWEST, RULES_FIRST),
        lives=tuple(_life(line, nodes + guests, chaos_ms) for line in found.get("life", [])),
        **_core(found, nodes),
    )
    _require_few_faulty(found, scenario)
    if scenario.lives and scenario.rules < RULES_SCHEME:
        raise found["life"][0].refused("a life by earlier rules", f"a line rules {RULES_SCHEME}", scenario.rules)
    return scenario


def _single(found: dict[str, list[_Line]], name: str, least: int, most: int, default: int = 0) -> int:
    if name not in found:
        return default
    (line,) = found[name]
    line.shaped(len(line.words) == 2)
    return line.count(line.words[1], least, most)


def _weather(line: _Line) -> Weather:
    line.shaped(line.words[1::2] == tuple(field.name for field in fields(Weather)) and len(line.words) == 11)
    loss, replay, delay_ms, tail_ms, tail_share = line.words[2::2]
    return Weather(
        loss=line.share(loss),
        replay=line.share(replay),
        delay_ms=line.count(delay_ms, 1, TIME_MS_MAX),
        tail_ms=line.count(tail_ms, 1, TIME_MS_MAX),
        tail_share=line.share(tail_share),
    )


def _malicious(line: _Line, nodes: int) -> tuple[int, str]:
    line.shaped(len(line.words) == 3)
    return line.count(line.words[1], 0, nodes - 1, "node"), line.one_of(line.words[2], BEHAVIOUR_NAMES, "behaviour")


def _load(line: _Line, banks: int) -> Load:
    line.shaped(len(line.words) == 6 and line.words[2::2] == ("source", "events"))
    at_ms, source, events = line.words[1::2]
    return Load(
        line.count(at_ms, 0, TIME_MS_MAX, "time"),
        line.count(source, 0, banks - 1, "source"),
        line.count(events, 1, BATCH_EVENTS_MAX, "events"),
    )


def _strike(line: _Line, nodes: int, observers: int, chaos_ms: int) -> Strike:
    line.shaped(len(line.words) >= 5 and line.words[3] == "lasts")
    at_ms, name, _, lasts_ms, *rest = line.words[1:]
    fault = Fault(line.one_of(name, Fault, "fault"))
    split = rest.index("amounts") if "amounts" in rest else len(rest)
    line.shaped(rest[:split][:1] in ([], ["nodes"]) and "nodes" not in rest[1:])
    who = tuple(line.count(word, 0, nodes + observers - 1, "node") for word in rest[1:split])
    amounts = tuple(line.count(word, -TIME_MS_MAX, TIME_MS_MAX, "amount") for word in rest[split + 1 :])
    wanted = 3 * len(who) if fault is Fault.POWER_LOSS else AMOUNTS.get(fault, 0)
    if len(amounts) != wanted:
        raise line.refused(f"amounts of {fault}", wanted, len(amounts))
    if not who and fault not in (Fault.LEADER_CRASH, Fault.ONE_WAY):  # of few links none may be drawn
        raise line.refused(f"nodes of {fault}", "at least one", "none")
    if fault is Fault.ONE_WAY and len(who) % 2:
        raise line.refused(f"nodes of {fault}", "pairs of sender and receiver", len(who))
    _require_meant(line, fault, amounts, nodes)
    starts_ms = line.count(at_ms, 0, chaos_ms, "time")  # what is struck later, nobody ends
    return Strike(fault, starts_ms, line.count(lasts_ms, 0, TIME_MS_MAX), who, amounts)


def _require_meant(line: _Line, fault: Fault, amounts: Sequence[int], nodes: int) -> None:
    """Refuse amounts that name no way of writing, no place, no bank, or no time."""
    if fault is Fault.POWER_LOSS or fault in WRITTEN:
        for written, share in zip(*(amounts[at :: AMOUNTS.get(fault, 3)] for at in (0, 1)), strict=True):
            line.count(str(written), 0, WRITTEN_MAX, "first amount")
            line.count(str(share), 0, SHARE_MAX, "share")
    if fault in (Fault.FLIPPED_LOG, Fault.FLIPPED_ROW):
        for amount, most, what in zip(amounts, (SHARE_MAX, BIT_MAX, 1), ("place", "bit", "last amount"), strict=True):
            line.count(str(amount), 0, most, what)
    if fault is Fault.SLOW_DISK:
        line.count(str(amounts[0]), 0, DISK_MS_MAX, "amount")
    if fault is Fault.REKEY:
        line.count(str(amounts[0]), 0, nodes - 1, "bank")
    if fault is Fault.SLOW_LINK:
        line.count(str(amounts[0]), 1, TIME_MS_MAX, "bytes a second")
    if fault not in (Fault.SKEW, Fault.JUMP):
        for amount in amounts:
            line.count(str(amount), 0, TIME_MS_MAX, "amount")


def _change(line: _Line, banks: int, chaos_ms: int) -> Change:
    words = line.words
    line.shaped(len(words) >= 7 and words[3::2][:2] == ("by", "of") and words[7:8] in ((), ("amounts",)))
    at_ms = line.count(words[1], 0, TIME_MS_MAX, "time")
    deed = Deed(line.one_of(words[2], Deed, "deed"))
    line.count(words[4], 0, banks - 1, "bank")
    pattern = NODE_NAME_PATTERN if deed in (Deed.JOIN, Deed.LEAVE) else MEMBER_ID_PATTERN
    if re.fullmatch(pattern, words[6]) is None:
        raise line.refused("name of a change line", DESCRIPTIONS[pattern], words[6])
    amounts = [line.count(word, 0, TIME_MS_MAX, "amount") for word in words[8:]]
    if len(amounts) not in CHANGE_AMOUNTS[deed]:
        raise line.refused(f"amounts of {deed}", " or ".join(map(str, CHANGE_AMOUNTS[deed])), len(amounts))
    if deed is Deed.JOIN and amounts and at_ms + amounts[0] > chaos_ms:  # nobody starts it again when all is healed
        raise line.refused("stop of a joiner", f"before the faults end at {chaos_ms}", at_ms + amounts[0])
    return parsed_change(words[1:])


def _motion(line: _Line, banks: int) -> Motion:
    words = line.words
    line.shaped(len(words) >= 5 and words[2] == "by")
    rest = words[4:]
    sides: dict[str, tuple[int, ...]] = {"approved": (), "rejected": ()}
    for side in ("rejected", "approved"):
        if side in rest:
            at = rest.index(side)
            line.shaped(rest[at + 1 : at + 2] == ("by",))
            sides[side] = tuple(line.count(word, 0, banks - 1, "bank") for word in rest[at + 2 :])
            rest = rest[:at]
    try:
        action_of(rest, 0)
    except InputError as error:
        raise line.refused(error.what, error.expected, error.got) from None
    at_ms, bank = line.count(words[1], 0, TIME_MS_MAX, "time"), line.count(words[3], 0, banks - 1, "bank")
    return Motion(at_ms, bank, rest, sides["approved"], sides["rejected"])


def _life(line: _Line, banks: int, chaos_ms: int) -> Life:
    words = line.words
    line.shaped(len(words) == 8 and words[2::2] == ("of", "every", "steps"))
    life = Life(
        line.count(words[1], 0, chaos_ms, "time"),
        line.count(words[3], 0, banks - 1, "bank"),
        line.count(words[5], 1, TIME_MS_MAX, "pause"),
        line.count(words[7], 1, LIFE_STEPS_MAX, "steps"),
    )
    last_ms = life.at_ms + (life.steps - 1) * life.every_ms
    if last_ms >= max(chaos_ms, 1):  # order returns once nothing new is said
        raise line.refused("last step of a life", f"before the faults end at {chaos_ms}", last_ms)
    return life


def _core(found: dict[str, list[_Line]], nodes: int) -> dict[str, Any]:
    """Return the fields of a core: a quorum of nodes that are neither malicious nor lose their memory."""
    if "core" not in found:
        return {}
    (line,) = found["core"]
    words = line.words
    line.shaped(len(words) >= 4 and words[-2] == "others")
    core = tuple(line.count(word, 0, nodes - 1, "node") for word in words[1:-2])
    quorum = (nodes + (nodes - 1) // 3) // 2 + 1
    if len(set(core)) != len(core) or len(core) < quorum:
        raise line.refused("nodes of a core", f"at least {quorum} different ones", " ".join(words[1:-2]))
    return {"core": core, "fate": Fate(line.one_of(words[-1], Fate, "fate"))}


def _require_few_faulty(found: dict[str, list[_Line]], scenario: Scenario) -> None:
    """Refuse the line with which more than f nodes are faulty, or one of the core is."""
    f = (scenario.nodes - 1) // 3
    struck: list[tuple[_Line, tuple[int, ...]]] = [
        (line, (node,)) for line, (node, _) in zip(found.get("malicious", []), scenario.malicious, strict=True)
    ]
    strikes = zip(found.get("strike", []), scenario.strikes, strict=True)
    struck += [(line, strike.nodes) for line, strike in strikes if strike.fault in FORGETFUL]
    faulty: set[int] = set()
    for line, nodes in struck:
        faulty.update(nodes)
        if len(faulty) > f:
            expected = f"at most {f} of {scenario.nodes}"
            raise line.refused("too many are malicious or lose their memory", expected, sorted(faulty))
        if faulty & set(scenario.core):
            expected = "nodes that are neither malicious nor lose their memory"
            raise line.refused("a node of the core", expected, sorted(faulty & set(scenario.core)))
