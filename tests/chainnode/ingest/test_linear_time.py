"""Input that was doubled twice takes about four times the time, however it was made: processor time, best of some runs.

The factor is generous, because the machine has other work; something quadratic would take sixteen times as long.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from chainnode.ingest.csv_mapping import CsvMapping
from chainnode.ingest.formats import Options, ingest
from chainnode.ingest.iso20022 import parse_iso20022
from chainnode.ingest.xml_text import to_utf8, without_blocks
from primitives.errors import InputError
from tests.chainnode.ingest.card_fixtures import PURCHASE, message
from tests.chainnode.ingest.ingest_fixtures import context_of
from tests.chainnode.ingest.message_fixtures import details, document, entry, pacs008

FACTOR_MAX = 9
TURNS, TURNS_MAX = 3, 10
CONTEXT = context_of("bank-a")
MAPPING = CsvMapping(
    {"time": ("t",), "amount": ("a",), "reference": ("r",), "remittance": ("m",)},
    {"currency": "CNY", "side": "debtor", "debtor_agent": "BKAACNBJXXX"},
    {},
)


def xml(text: str) -> None:
    try:
        parse_iso20022(text.encode(), where="f", skip_bad=True)
    except InputError:
        return


def table(text: str) -> None:
    try:
        ingest(text.encode(), CONTEXT, where="f", options=Options(skip_bad=True, mapping=MAPPING))
    except InputError:
        return


def lines(text: str) -> None:
    try:
        ingest(text.encode(), CONTEXT, where="f", options=Options(skip_bad=True))
    except InputError:
        return


def blocks(text: str) -> None:
    without_blocks(text.encode())


def chinese(text: str) -> None:
    to_utf8(text.encode("gb18030"), where="f")


def keys(count: int) -> str:
    return "{" + ",".join(f'"{at}":1' for at in [*range(count), count - 1]) + "}"


def cards(text: str) -> None:
    try:
        ingest(text.encode("latin-1"), CONTEXT, where="f", options=Options(skip_bad=True))
    except InputError:
        return


def transactions(count: int) -> str:
    whole = pacs008()
    first, last = whole.index("<CdtTrfTxInf>"), whole.rindex("</FIToFICstmrCdtTrf>")
    return (whole[:first] + whole[first:last] * (count // 2) + whole[last:]).replace(
        "<NbOfTxs>2<", f"<NbOfTxs>{count}<"
    )


def notification(count: int) -> str:
    told = entry("1.00", details(0, amount="1.00") * count)
    head = "<GrpHdr><MsgId>M</MsgId><CreDtTm>2026-04-13T09:07:00Z</CreDtTm></GrpHdr>"
    inner = f"<BkToCstmrDbtCdtNtfctn>{head}<Ntfctn>{told}</Ntfctn></BkToCstmrDbtCdtNtfctn>"
    return document("camt.054.001", 8, inner)


HEADER = "t,a,r,m\n"
PACKED = (b"\x02\x07" + message(PURCHASE)).decode("latin-1")
INPUTS: dict[str, tuple[int, Callable[[int], str], Callable[[str], None]]] = {
    "transactions": (400, transactions, xml),
    "bad transactions": (400, lambda n: transactions(n).replace("<ChrgBr>SHAR", "<ChrgBr>NONE"), xml),
    "messages": (200, lambda n: f"<F>{''.join(pacs008(message_id=f'M-{at}') for at in range(n))}</F>", xml),
    "messages with one id": (200, lambda n: f"<F>{pacs008() * n}</F>", xml),
    "details of an entry": (300, notification, xml),
    "elements of one name": (20_000, lambda n: f"<F>{'<a/>' * n}</F>", xml),
    "elements of other names": (1_200, lambda n: f"<F>{''.join(f'<a{at}/>' for at in range(n))}</F>", xml),
    "a comment": (2_000_000, lambda n: f"<F><!--{'x' * n}--></F>", xml),
    "text cut by comments": (100_000, lambda n: f"<F>{'x<!-- -->' * n}</F>", xml),
    "white space": (2_000_000, lambda n: f"<F>{' ' * n}</F>", xml),
    "character references": (50_000, lambda n: f"<F>{'&#65;' * n}</F>", xml),
    "attributes": (20_000, lambda n: f"<F>{'<a b=QcQ/>'.replace('Q', chr(34)) * n}</F>", xml),
    "open elements": (50_000, lambda n: "<a>" * n, xml),
    "a declaration without end": (200_000, lambda n: "<?xml " + " " * n, xml),
    "braces before XML": (200_000, lambda n: "{H:" * n, blocks),
    "another encoding": (200_000, lambda n: '<?xml version="1.0" encoding="GB18030"?>' + "王" * n, chinese),
    "rows": (400, lambda n: HEADER + "2026-04-13T09:00:00Z,1.00,R,x\n" * n, table),
    "bad rows": (2_000, lambda n: HEADER + "2026,1.00,R,x\n" * n, table),
    "a quote without end": (100_000, lambda n: HEADER + '"' + "x,\n" * n, table),
    "columns": (20_000, lambda n: "a," * n + "\n", table),
    "JSON lines": (2_000, lambda n: '{"payment": {"amount": "1"}}\n' * n, lines),
    "keys in JSON, the last twice": (2_500, keys, lines),
    "card messages by lengths of packed digits": (400, lambda n: n * PACKED, cards),
    "brackets in JSON": (100_000, lambda n: '{"payment": ' + "[" * n, lines),
}


def seconds(take: Callable[[str], None], text: str) -> float:
    began = time.process_time()
    take(text)
    return time.process_time() - began


@pytest.mark.parametrize("name", INPUTS)
def test_input_that_was_doubled_twice_takes_about_four_times_the_time(name: str) -> None:
    size, make, take = INPUTS[name]
    once, doubled_twice = make(size), make(4 * size)
    take(once)
    # By turns, and more often where other work was in the way: the least that each took is what counts.
    least, least_doubled = 60.0, 60.0
    for turn in range(TURNS_MAX):
        least, least_doubled = min(least, seconds(take, once)), min(least_doubled, seconds(take, doubled_twice))
        if turn + 1 >= TURNS and least_doubled < FACTOR_MAX * max(least, 0.002):
            return
    assert least_doubled < FACTOR_MAX * max(least, 0.002)
