"""The public list of certificates as a file: CSV, JSON or HTML, row by row in the order of numbers.

Here: its columns, and its texts in parts, so that a list of any length takes little memory. Every list speaks for one
block and one time, which stand in it. `csv_sha256`, at the end of JSON and HTML, is the SHA-256 of the same list as CSV
without a byte-order mark: whoever compares two nodes compares one line. Not here: HTTP (`rpc.list_resources`), which
certificates fit (`ledger.certificate_search`). Sources: domain §3; RFC 4180; OWASP on CSV injection.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from hashlib import sha256
from html import escape
from itertools import islice
from typing import Final, NamedTuple

import msgspec

from ledger.catalogue import Category, read_catalogues
from ledger.certificate_search import Listed
from ledger.committed_state import CommittedState
from ledger.reader import LedgerReader
from rpc.explorer.rendering import visible
from rpc.types import time_text

FORMS: Final = ("csv", "json", "html")
LANGUAGES: Final = ("en", "zh")
ROWS_A_PART: Final = 200
BOM: Final = "\ufeff"
FORMULA_BEGINS: Final = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula; such a cell gets an apostrophe in front."""

COLUMNS: Final[dict[str, tuple[str, str]]] = {
    "number": ("Number", "证书编号"),
    "holder": ("Holder's member", "持证成员"),
    "holder_name": ("Holder", "持证机构"),
    "holder_id": ("Holder's id", "统一社会信用代码或 LEI"),
    "product": ("Product", "产品名称"),
    "model": ("Model", "型号"),
    "version": ("Version", "版本"),
    "category": ("Category", "类别"),
    "category_en": ("Category in English", "类别(英文)"),
    "category_zh": ("Category in Chinese", "类别(中文)"),
    "catalogue": ("Catalogue", "目录版本"),
    "scope": ("Scope", "认证范围"),
    "status": ("Status", "状态"),
    "status_zh": ("Status in Chinese", "状态(中文)"),
    "valid_from": ("Valid from", "有效期自"),
    "valid_until": ("Valid until", "有效期至"),
    "suspended_until": ("Suspended until", "暂停至"),
    "invalid_from": ("Invalid from", "失效自"),
    "successor": ("Successor", "后续证书"),
    "predecessor": ("Predecessor", "先前证书"),
    "as_of": ("As of block", "区块高度"),
    "time": ("At time", "时间"),
    "chain_id": ("Chain", "链标识"),
}
"""The columns of CSV with their names in English and Chinese; JSON has all but those of the whole list by row."""

OF_THE_LIST: Final = ("as_of", "time", "chain_id")
_WORDS: Final = {
    "en": (
        "Certificates of fintech products",
        "as of block {height}, {time}",
        "{count} certificates",
        "SHA-256 as CSV",
    ),
    "zh": ("金融科技产品认证证书公示", "截至区块 {height},{time}", "共 {count} 张证书", "CSV 格式的 SHA-256"),
}

STYLE: Final = (
    ":root{color-scheme:light dark}"
    "body{font:16px/1.5 system-ui,sans-serif;margin:1.5rem;color:#1a1a1a;background:#fff}"
    "div{overflow-x:auto}table{border-collapse:collapse;font-size:.875rem}"
    "th,td{text-align:start;vertical-align:top;padding:.3rem .6rem;border-bottom:1px solid #bbb}"
    "th,td:first-child{white-space:nowrap}th{background:#eee}code{overflow-wrap:anywhere}"
    ".not{color:#a40000;font-weight:600}"
    "@media(prefers-color-scheme:dark){body{color:#eee;background:#161616}th{background:#2a2a2a}"
    "th,td{border-color:#555}.not{color:#ff9a9a}}"
)


class Place(NamedTuple):
    """What a list speaks for: the chain, a block of it, and a time."""

    chain: str
    chain_id: str
    height: int
    time_ms: int


Row = Mapping[str, str]


def categories_of(reader: LedgerReader) -> dict[tuple[int, int], Category]:
    """Return the categories by version of the catalogue and number."""
    catalogues = read_catalogues(CommittedState(reader.store))
    return {(found.version, category.number): category for found in catalogues for category in found.categories}


def row_of(item: Listed, place: Place, categories: Mapping[tuple[int, int], Category]) -> Row:
    """Return a certificate's cells by their columns, empty where it has nothing to say."""
    certificate, scheme = item.found
    category = categories.get((certificate.catalogue, certificate.category))
    suspension, revocation = certificate.suspension, certificate.revocation
    return {
        "number": certificate.number,
        "holder": certificate.holder,
        "holder_name": certificate.holder_name,
        "holder_id": scheme.holder_id,
        "product": certificate.product.name,
        "model": certificate.product.model,
        "version": certificate.product.version,
        "category": str(certificate.category),
        "category_en": "" if category is None else category.name,
        "category_zh": "" if category is None else category.name_zh,
        "catalogue": str(certificate.catalogue),
        "scope": "; ".join(scheme.scope),
        "status": item.status.status.value,
        "status_zh": item.status.status_zh,
        "valid_from": time_text(certificate.valid_from_ms),
        "valid_until": time_text(certificate.valid_until_ms),
        "suspended_until": "" if suspension is None else time_text(suspension.until_ms),
        "invalid_from": "" if revocation is None else time_text(revocation.invalid_from_ms),
        "successor": certificate.successor or "",
        "predecessor": certificate.predecessor or "",
        "as_of": str(place.height),
        "time": time_text(place.time_ms),
        "chain_id": place.chain_id,
    }


def cell(text: str) -> str:
    """Return a text as a spreadsheet may have it: never the beginning of a formula."""
    return f"'{text}" if text.lstrip().startswith(FORMULA_BEGINS) or text[:1] in FORMULA_BEGINS else text


def csv_lines(rows: list[list[str]]) -> str:
    """Return rows as CSV (RFC 4180) whose cells no spreadsheet runs."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows([[cell(text) for text in row] for row in rows])
    return out.getvalue()


def list_parts(
    walk: Iterator[tuple[str, Listed | None]],
    place: Place,
    categories: Mapping[tuple[int, int], Category],
    form: str,
    language: str = "en",
    *,
    with_bom: bool = False,
) -> Iterator[bytes]:
    """Yield a list in parts, each after looking at some hundred certificates: empty where none of these is in it."""
    head = csv_lines([list(COLUMNS)])
    digest = sha256(head.encode())
    count = 0
    begin = {"csv": (BOM if with_bom else "") + head, "json": _json_head(place), "html": _html_head(place, language)}
    yield begin[form].encode()
    while some := list(islice(walk, ROWS_A_PART)):
        rows = [row_of(item, place, categories) for _, item in some if item is not None]
        lines = csv_lines([list(row.values()) for row in rows])
        digest.update(lines.encode())
        match form:
            case "csv":
                text = lines
            case "json":
                text = "".join(("," if count + at else "") + "\n" + _json_row(row) for at, row in enumerate(rows))
            case _:
                text = "".join(_html_row(row) for row in rows)
        count += len(rows)
        yield text.encode()
    end = {
        "csv": "",
        "json": f'\n],"count":{count},"csv_sha256":"{digest.hexdigest()}"}}\n',
        "html": _html_end(count, digest.hexdigest(), language),
    }
    yield end[form].encode()


def _json_head(place: Place) -> str:
    head = {
        "chain": place.chain,
        "chain_id": place.chain_id,
        "as_of": place.height,
        "time": time_text(place.time_ms),
    }
    return msgspec.json.encode(head).decode()[:-1] + ',"certificates":['


def _json_row(row: Row) -> str:
    return msgspec.json.encode({name: text for name, text in row.items() if name not in OF_THE_LIST}).decode()


def _html_head(place: Place, language: str) -> str:
    title, where, _, _ = _WORDS[language]
    at = LANGUAGES.index(language)
    names = "".join(f'<th scope="col">{names[at]}</th>' for name, names in COLUMNS.items() if name not in OF_THE_LIST)
    return (
        f'<!doctype html>\n<html lang="{"zh-Hans" if language == "zh" else "en"}"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{title}</title><style>{STYLE}</style></head>\n'
        f"<body><main><h1>{title}</h1>\n<p>{escape(str(visible(place.chain)))} <code>{place.chain_id}</code>, "
        f"{where.format(height=place.height, time=time_text(place.time_ms))}</p>\n"
        f'<div role="group" tabindex="0" aria-label="{title}"><table><thead><tr>{names}</tr></thead><tbody>'
    )


def _html_row(row: Row) -> str:
    cells = []
    for name, text in row.items():
        if name in OF_THE_LIST:
            continue
        mark = ' class="not"' if name in ("status", "status_zh") and row["status"] != "valid" else ""
        cells.append(f"<td{mark}>{escape(str(visible(text)))}</td>")
    return f"\n<tr>{''.join(cells)}</tr>"


def _html_end(count: int, digest: str, language: str) -> str:
    _, _, counted, sum_ = _WORDS[language]
    return (
        f"\n</tbody></table></div>\n<p>{counted.format(count=f'{count:,}')}; {sum_}: "
        f'<code id="csv-sha256">{digest}</code></p></main></body></html>\n'
    )
