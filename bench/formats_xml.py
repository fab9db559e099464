"""How fast pacs.008 messages become payments, and statements: processor time of one core, by transactions a message.

Messages are generated with another reference, UETR, amount, account and name in each transaction, from a seed. Told are
medians over rounds of the time that a transaction took from XML to a `ParsedPayment`, and to a finished statement with
its commitments, keys and tokens; sizes take turns, and SHA-256 of 1 MiB timed beside them shows how busy the machine
was. How much memory a file of 100,000 transactions takes is measured in processes of their own: their peak with the
file in hand, after reading it, and after making all statements. Run `python -m bench.formats_xml`.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench.measure import machine
from chainnode.ingest.context import IngestContext, make_context
from chainnode.ingest.formats import ingest
from chainnode.ingest.iso20022 import parse_iso20022

SIZES: Final = (1, 100, 10_000)
TRANSACTIONS: Final = 10_000  # in all messages of one size
ROUNDS: Final = 5
SEED: Final = 20022
LARGE: Final = 100_000
GOAL: Final = 5_000
STEPS: Final = ("file", "parsed", "stated")
CODES: Final = {"BKAACNBJXXX": "bank-a", "BKABCNBJXXX": "bank-b"}

Figures = dict[str, Any]  # Any: JSON


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; the status is 1 where messages of some size do not reach the goal."""
    parser = argparse.ArgumentParser(prog="python -m bench.formats_xml", description=__doc__)
    parser.add_argument("--transactions", type=int, default=TRANSACTIONS, help=f"of each size ({TRANSACTIONS})")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"({ROUNDS})")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of what is generated ({SEED})")
    parser.add_argument("--large", type=int, default=LARGE, help=f"transactions of the file for memory ({LARGE})")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--peak", nargs=2, metavar=("STEP", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.peak:
        print(peak_mib(options.peak[0], Path(options.peak[1])))
        return 0
    figures = measure(options.transactions, options.rounds, options.seed)
    figures["memory"] = memory(options.large, options.seed)
    print(json.dumps(figures) if options.json else table(figures))
    return 0 if all(row["parsed_per_s"] >= GOAL for row in figures["sizes"]) else 1


def measure(transactions: int, rounds: int, seed: int) -> Figures:
    """Return times by size of message."""
    context = bank_context()
    work: dict[str, Callable[[], int]] = {}
    counts: dict[int, int] = {}
    sizes = [size for size in SIZES if size <= transactions]
    for size in sizes:
        counts[size] = transactions // size * size if size > 1 else min(transactions, 1_000)
        files = [pacs008(size, seed, number) for number in range(counts[size] // size)]
        work[f"{size} parsed"] = lambda files=files: sum(
            len(parse_iso20022(data, where="f").payments) for data in files
        )
        work[f"{size} stated"] = lambda files=files: sum(len(ingest(data, context, where="f").drafts) for data in files)
    taken: dict[str, list[float]] = {name: [] for name in (*work, "sha256 MiB")}
    for name, each in work.items():
        assert each() == counts[int(name.split()[0])], "every transaction is good"
    block = bytes(1 << 20)
    for _ in range(rounds):
        taken["sha256 MiB"].append(_seconds(lambda: len(sha256(block).digest())))
        for name, each in work.items():
            taken[name].append(_seconds(each) / counts[int(name.split()[0])])
    us = {name: round(median(times) * 1e6, 1) for name, times in taken.items()}
    rows = [
        {"transactions_a_message": size, "bytes_a_transaction": len(pacs008(size, seed, 0)) // size}
        | {f"{step}_us": us[f"{size} {step}"] for step in STEPS[1:]}
        | {f"{step}_per_s": round(1e6 / us[f"{size} {step}"]) for step in STEPS[1:]}
        for size in sizes
    ]
    return {"sizes": rows, "rounds": rounds, "seed": seed, "sha256_mib_us": us["sha256 MiB"], "machine": machine()}


def memory(transactions: int, seed: int) -> Figures:
    """Return the peak memory of processes that hold, read and state a file of one message."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "large.xml"
        file.write_bytes(pacs008(transactions, seed, 0))
        size = file.stat().st_size
        peaks = {step: _peak_of(step, file) for step in STEPS}
    return {"transactions": transactions, "file_mib": size >> 20, "peak_mib": peaks}


def _peak_of(step: str, file: Path) -> int:
    command = [sys.executable, "-m", "bench.formats_xml", "--peak", step, str(file)]
    return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def peak_mib(step: str, file: Path) -> int:
    """Return this process's peak of resident memory after it took a file that far."""
    data = file.read_bytes()
    if step == "parsed":
        parse_iso20022(data, where="f")
    elif step == "stated":
        ingest(data, bank_context(), where="f")
    # Not getrusage, whose peak a process inherits from the one that started it.
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(peak.split()[1]) >> 10


def bank_context() -> IngestContext:
    """Return the context of bank-a, which shares a secret with bank-b."""
    return make_context("bank-a", CODES, bytes([9]) * 32, {"bank-b": bytes([1]) * 32})


def pacs008(transactions: int, seed: int, number: int) -> bytes:
    """Return message `number` of so many transactions, indented as systems write them, from bank-a to bank-b."""
    draw = random.Random(seed * 1_000_003 + number)
    amounts = [draw.randrange(100, 50_000_000) for _ in range(transactions)]
    inner = "".join(_transaction(draw, number, index, amount) for index, amount in enumerate(amounts))
    total = _decimal(sum(amounts))
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pacs.008.001.08">
  <FIToFICstmrCdtTrf>
    <GrpHdr>
      <MsgId>BENCH-{seed}-{number}</MsgId>
      <CreDtTm>2026-04-13T09:{number // 60 % 60:02d}:{number % 60:02d}+08:00</CreDtTm>
      <NbOfTxs>{transactions}</NbOfTxs>
      <CtrlSum>{total}</CtrlSum>
      <TtlIntrBkSttlmAmt Ccy="CNY">{total}</TtlIntrBkSttlmAmt>
      <IntrBkSttlmDt>2026-04-13</IntrBkSttlmDt>
      <SttlmInf>
        <SttlmMtd>CLRG</SttlmMtd>
        <ClrSys>
          <Prtry>BEPS</Prtry>
        </ClrSys>
      </SttlmInf>
    </GrpHdr>
{inner}  </FIToFICstmrCdtTrf>
</Document>
""".encode()


def _decimal(minor: int) -> str:
    return f"{minor // 100}.{minor % 100:02d}"


def _bank(name: str, code: str) -> str:
    return f"""      <{name}>
        <FinInstnId>
          <BICFI>{code}</BICFI>
        </FinInstnId>
      </{name}>
"""


def _customer(name: str, draw: random.Random) -> str:
    return f"""      <{name}>
        <Nm>Customer {draw.randrange(10**6)}</Nm>
        <PstlAdr>
          <Ctry>CN</Ctry>
        </PstlAdr>
      </{name}>
      <{name}Acct>
        <Id>
          <Othr>
            <Id>62{draw.randrange(10**16, 10**17)}</Id>
          </Othr>
        </Id>
      </{name}Acct>
"""


def _transaction(draw: random.Random, number: int, index: int, amount: int) -> str:
    uetr = (
        f"{draw.getrandbits(32):08x}-{draw.getrandbits(16):04x}-4{draw.getrandbits(12):03x}-8{draw.getrandbits(12):03x}"
    )
    return f"""    <CdtTrfTxInf>
      <PmtId>
        <InstrId>IN-{number}-{index}</InstrId>
        <EndToEndId>E2E-{number}-{index}</EndToEndId>
        <TxId>TX-{number}-{index}</TxId>
        <UETR>{uetr}-{draw.getrandbits(48):012x}</UETR>
      </PmtId>
      <IntrBkSttlmAmt Ccy="CNY">{_decimal(amount)}</IntrBkSttlmAmt>
      <InstdAmt Ccy="CNY">{_decimal(amount)}</InstdAmt>
      <ChrgBr>SHAR</ChrgBr>
{_bank("InstgAgt", "BKAACNBJXXX")}{_bank("InstdAgt", "BKABCNBJXXX")}{_customer("Dbtr", draw)}\
{_bank("DbtrAgt", "BKAACNBJXXX")}{_bank("CdtrAgt", "BKABCNBJXXX")}{_customer("Cdtr", draw)}\
      <RmtInf>
        <Ustrd>Invoice {draw.randrange(10**8)}</Ustrd>
      </RmtInf>
    </CdtTrfTxInf>
"""


def _seconds(work: Callable[[], int]) -> float:
    gc.collect()
    start = time.process_time()
    work()
    return time.process_time() - start


def table(figures: Figures) -> str:
    """Return the figures as lines to read."""
    lines = ["transactions a message   bytes each   parsed us   a second   stated us   a second"]
    lines += [
        f"{row['transactions_a_message']:>22,}   {row['bytes_a_transaction']:>10,}   {row['parsed_us']:>9.1f}   "
        f"{row['parsed_per_s']:>8,}   {row['stated_us']:>9.1f}   {row['stated_per_s']:>8,}"
        for row in figures["sizes"]
    ]
    used = figures["memory"]
    peaks = ", ".join(f"{step} {mib} MiB" for step, mib in used["peak_mib"].items())
    lines.append(f"a file of {used['transactions']:,} transactions ({used['file_mib']} MiB) at its peak: {peaks}")
    lines.append(f"SHA-256 of 1 MiB {figures['sha256_mib_us']:.0f} us; medians of {figures['rounds']} rounds")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
