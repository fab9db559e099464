"""How fast banks' messages become payments, and statements: processor time of one core, by format.

Messages are generated with other cards, amounts, times and merchants each, from a seed; a file of them is read as
`submit` reads it. Told are medians over rounds of the time a message took to a `ParsedPayment`, and to a finished
statement with its commitments, keys and tokens. Between rounds the formats take turns, and a fixed piece of work
(SHA-256 of 1 MiB) is timed beside each: what it takes shows how busy the machine was. Run `python -m bench.formats`.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import time
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from statistics import median
from typing import Any, Final

import iso8583

from bench.measure import machine
from chainnode.ingest.card_network import make_card_network
from chainnode.ingest.context import IngestContext, make_context
from chainnode.ingest.emvqr import build_qr, parse_qr
from chainnode.ingest.formats import ingest
from chainnode.ingest.iso8583 import parse_iso8583
from chainnode.ingest.iso8583_fields import SPECIFICATIONS, Encoding
from chainnode.ingest.json_text import parse_object
from chainnode.ingest.jsonl import LINE_SIZE_MAX, line_payment, split_lines
from chainnode.ingest.parsed import ParsedPayment
from primitives.ids import TimeMs

MESSAGES: Final = 5_000
ROUNDS: Final = 9
SEED: Final = 8583
RECEIVED_MS: Final = TimeMs(1_776_700_000_000)
GOALS: Final = {"iso8583": 20_000, "emvqr": 50_000}
ENCODINGS: Final[tuple[Encoding, ...]] = ("ascii", "unionpay", "bcd")
CODES: Final = {"BKAACNBJXXX": "bank-a", "BKABCNBJXXX": "bank-b", "BKACCNBJXXX": "bank-c"}
MERCHANTS: Final = ("LOTUS GARDEN", "HARBOUR PHARMACY", "NORTH STATION KIOSK", "BAMBOO BOOKS", "GREEN TEA HOUSE")
CITIES: Final = (("BEIJING", "北京"), ("DALIAN", "大连"), ("SHANGHAI", "上海"))

Figures = dict[str, Any]  # Any: JSON


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; the status is 1 where a format does not reach its goal."""
    parser = argparse.ArgumentParser(prog="python -m bench.formats", description=__doc__)
    parser.add_argument("--messages", type=int, default=MESSAGES, help=f"messages a file ({MESSAGES})")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"({ROUNDS})")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of what is generated ({SEED})")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    figures = measure(options.messages, options.rounds, options.seed)
    print(json.dumps(figures) if options.json else table(figures))
    return (
        0 if all(row["parsed_per_s"] >= row["goal_per_s"] for row in figures["formats"] if "goal_per_s" in row) else 1
    )


def measure(messages: int, rounds: int, seed: int) -> Figures:
    """Return the figures of every format."""
    context = bank_context()
    files = {f"iso8583 {encoding}": card_file(messages, encoding, seed) for encoding in ENCODINGS}
    files["emvqr"] = qr_file(messages, seed)
    payloads = [json.loads(line)["payload"] for line in files["emvqr"].splitlines()]
    work: dict[str, Callable[[], int]] = {"emvqr payloads": lambda: _count(map(parse_qr, payloads))}
    for name, data in files.items():
        work[f"{name} parsed"] = _parse_of(name, data, context)
        work[f"{name} stated"] = _state_of(data, context)
    taken: dict[str, list[float]] = {name: [] for name in (*work, "sha256 MiB")}
    for each in work.values():
        assert each() == messages, "every message is good"
    block = bytes(1 << 20)
    for _ in range(rounds):
        taken["sha256 MiB"].append(_seconds(lambda: len(sha256(block).digest())))
        for name, each in work.items():
            taken[name].append(_seconds(each) / messages)
    us = {name: round(median(times) * 1e6, 1) for name, times in taken.items()}
    rows = []
    for name, data in files.items():
        row = {"format": name, "bytes_a_message": len(data) // messages, "sha256": sha256(data).hexdigest()[:16]}
        row |= {"parsed_us": us[f"{name} parsed"], "stated_us": us[f"{name} stated"]}
        row |= {f"{step}_per_s": round(1e6 / row[f"{step}_us"]) for step in ("parsed", "stated")}
        rows.append({**row, "goal_per_s": GOALS[name.split()[0]]})
    alone = us["emvqr payloads"]
    rows.append({"format": "emvqr payload alone", "parsed_us": alone, "parsed_per_s": round(1e6 / alone)})
    found = {"messages": messages, "rounds": rounds, "seed": seed, "formats": rows, "sha256_mib_us": us["sha256 MiB"]}
    return {**found, "machine": machine()}


def _parse_of(name: str, data: bytes, context: IngestContext) -> Callable[[], int]:
    if name == "emvqr":
        return lambda: _count(_line(line, context, f"f:{number}") for number, line in split_lines(data, "f"))
    return lambda: _count(parse_iso8583(data, context, where="f"))


def _line(line: bytes, context: IngestContext, where: str) -> ParsedPayment:
    return line_payment(parse_object(line, where=where, size_max=LINE_SIZE_MAX), context, where=where)


def _state_of(data: bytes, context: IngestContext) -> Callable[[], int]:
    return lambda: len(ingest(data, context, where="f").drafts)


def _count(items: Iterable[object]) -> int:
    return sum(1 for _ in items)


def _seconds(work: Callable[[], int]) -> float:
    gc.collect()
    start = time.process_time()
    work()
    return time.process_time() - start


def bank_context() -> IngestContext:
    """Return the context of bank-a, which shares secrets with the others."""
    network = make_card_network(
        {"90000000": "BKAACNBJXXX", "90010000": "BKABCNBJXXX", "90020000": "BKACCNBJXXX", "99990000": "SWTCCNBJXXX"},
        card_prefixes={"6299001": "90010000", "6299002": "90020000"},
        terminals={f"103900000{number:06d}/{number:08d}": f"FTP-2026-06-{number:06d}" for number in range(1_000)},
        utc_offset_minutes=480,
    )
    pairs = {"bank-b": bytes([1]) * 32, "bank-c": bytes([2]) * 32}
    return make_context("bank-a", CODES, bytes([9]) * 32, pairs, card_network=network, received_ms=RECEIVED_MS)


def card_file(messages: int, encoding: Encoding, seed: int) -> bytes:
    """Return a file of card messages of 20 fields each behind its length: requests and answers, one in 20 reversed."""
    draw, frames = random.Random(seed), bytearray()
    for number in range(messages):
        fields = card_fields(draw, number)
        raw = bytes(iso8583.encode(fields, SPECIFICATIONS[encoding, "right"])[0])
        frames += len(raw).to_bytes(2, "big") + raw
    return bytes(frames)


def card_fields(draw: random.Random, number: int) -> dict[str, str]:
    """Return the fields of one card message."""
    shop = draw.randrange(2_000)
    clock = f"{draw.randrange(24):02d}{draw.randrange(60):02d}{draw.randrange(60):02d}"
    fields = {
        "t": "0200",
        "2": f"629900{draw.randrange(1, 3)}{draw.randrange(10**9):09d}",
        "3": "000000",
        "4": f"{draw.randrange(100, 5_000_00):012d}",
        "7": f"0420{clock}",
        "11": f"{number % 10**6:06d}",
        "12": clock,
        "13": "0420",
        "15": "0421",
        "18": draw.choice(("5411", "5812", "5912", "6011", "4111")),
        "22": draw.choice(("051", "071", "021", "032")),
        "25": "00",
        "32": "90000000",
        "33": "99990000",
        "37": f"0110{number:08d}",
        "41": f"{shop:08d}",
        "42": f"103900000{shop:06d}",
        "43": draw.choice(MERCHANTS).ljust(40),
        "49": "156",
        "60": "00005000030",
    }
    if number % 20 == 19:
        fields |= {"t": "0420", "39": "98", "90": f"0200{number:06d}0420{clock}0009000000000099990000"}
    elif number % 2:
        fields |= {"t": "0210", "38": f"A{number % 10**5:05d}", "39": draw.choice(("00", "00", "00", "51"))}
    return fields


def qr_file(messages: int, seed: int) -> bytes:
    """Return a file of QR payments as JSON lines: payloads with UnionPay's tag 15, amounts and names in two scripts."""
    draw = random.Random(seed)
    return b"".join(
        json.dumps(qr_line(draw, number), ensure_ascii=False).encode() + b"\n" for number in range(messages)
    )


def qr_line(draw: random.Random, number: int) -> dict[str, str]:
    """Return one QR payment."""
    (city, city_zh), dynamic = draw.choice(CITIES), draw.random() < 0.7
    accounts: dict[str, Any] = {"15": f"9000000099990000{draw.randrange(10**15):015d}"}
    if draw.random() < 0.3:
        accounts["26"] = [("00", "cn.demo.pay"), ("01", f"MCH{draw.randrange(10**5):05d}")]
    payload = build_qr(
        accounts=accounts,
        category=draw.choice(("5411", "5812", "5912")),
        currency="CNY",
        country="CN",
        name=draw.choice(MERCHANTS),
        city=city,
        amount_minor=draw.randrange(100, 500_00) if dynamic else None,
        additional=[("01", f"BILL{number:06d}"), ("07", f"T{draw.randrange(10**7):07d}")],
        language=("ZH", "莲花餐厅", city_zh) if draw.random() < 0.5 else None,
    )
    line = {
        "payload": payload,
        "reporter": "bank-a",
        "side": "acquirer",
        "debtor_agent": draw.choice(("BKABCNBJXXX", "BKACCNBJXXX")),
        "time": f"2026-04-20T{draw.randrange(24):02d}:{draw.randrange(60):02d}:{draw.randrange(60):02d}+08:00",
        "reference": f"QR-20260420-{number:07d}",
        "debtor_account": f"629900{draw.randrange(10**13):013d}",
        "settlement_date": "2026-04-20",
    }
    return line if dynamic else {**line, "amount": f"{draw.randrange(1, 500)}.{draw.randrange(100):02d}"}


def table(figures: Figures) -> str:
    """Return the figures in lines."""
    lines = [f"{'format':<22}{'bytes':>6}{'to payments':>22}{'to statements':>22}{'goal':>10}"]
    for row in figures["formats"]:
        stated = f"{row['stated_us']:>8} us{row['stated_per_s']:>9}/s" if "stated_us" in row else ""
        goal = f"{row['goal_per_s']:>8}/s" if "goal_per_s" in row else ""
        parsed = f"{row['parsed_us']:>8} us{row['parsed_per_s']:>9}/s"
        lines.append(f"{row['format']:<22}{row.get('bytes_a_message', ''):>6}{parsed:>22}{stated:>22}{goal:>10}")
    said = "{messages} messages a file, seed {seed}, medians of {rounds} rounds; SHA-256 of 1 MiB {sha256_mib_us} us"
    files = [f"{row['format']}: sha256 {row['sha256']}..." for row in figures["formats"] if "sha256" in row]
    return "\n".join([*lines, said.format(**figures), "input: " + "; ".join(files)])


if __name__ == "__main__":
    raise SystemExit(main())
