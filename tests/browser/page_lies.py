"""Lies in pages: what a node shows, by page and by what is changed in its HTML, and the sentence that tells it.

Each lie takes the honest page's HTML and returns the changed one. A lie about a value changes the mark and the text
alike, as a node that knows of the marks does it; one about a text leaves the mark true.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

Lie = Callable[[str], str]


@dataclass(frozen=True)
class PageLie:
    """Which page lies, how, the proof that notices and what the page then says."""

    page: str
    what: str
    kind: str
    lie: Lie
    says: str

    @property
    def name(self) -> str:
        return f"{self.page}: {self.what}"


def _once(pattern: str, new: str | Callable[[re.Match[str]], str], html: str) -> str:
    changed, count = re.subn(pattern, new, html, count=1, flags=re.DOTALL)
    assert count == 1, pattern
    return changed


def value(claim: str) -> Lie:
    """Show another value than is proved, in the mark and in the text."""
    opening = rf'(data-claim="{re.escape(claim)}" data-value=")[^"]*(">)'
    return lambda html: _once(opening, r"\1forged\2forged ", html)


def text(claim: str) -> Lie:
    """Show another text under a true mark."""
    return lambda html: _once(rf'(data-claim="{re.escape(claim)}"[^>]*>)', r"\1not ", html)


def hidden(claim: str) -> Lie:
    """Show another text, and say that it is only there for the eye."""
    return lambda html: _once(
        rf'(data-claim="{re.escape(claim)}"[^>]*>)', r'\1<span aria-hidden="true">never </span>', html
    )


def without(claim: str) -> Lie:
    """Leave a mark out, everywhere."""
    return lambda html: html.replace(f'data-claim="{claim}"', "data-told")


def added(whole: str) -> Lie:
    return lambda html: _once(rf'(data-whole="{whole}">)', r"\1<p>and the fee is waived</p>", html)


def label(old: str, new: str) -> Lie:
    return lambda html: _once(f"<dt>{old}</dt>", f"<dt>{new}</dt>", html)


def unmarked_whole(html: str) -> str:
    """Leave out what says that all of a place is marked, and all marks within."""
    return _once('data-whole="receipt.body"', "", html).replace('data-claim="receipt.body.', 'data-claim="body.')


ROW = r'<(tr|li) data-row="(\d+)".*?</\1>'


def first_row_out(html: str) -> str:
    return _once(ROW, "", html)


def last_row_out(html: str) -> str:
    rows = list(re.finditer(ROW, html, re.DOTALL))
    return html[: rows[-1].start()] + html[rows[-1].end() :]


def row_twice(html: str) -> str:
    return _once(ROW, lambda match: match.group(0) * 2, html)


def extra_row(html: str) -> str:
    return _once(ROW, lambda match: match.group(0) + match.group(0).replace(f'"{match.group(2)}"', '"999999"', 1), html)


def rows_turned(html: str) -> str:
    first, second = list(re.finditer(ROW, html, re.DOTALL))[:2]
    between = html[first.end() : second.start()]
    return html[: first.start()] + second.group(0) + between + first.group(0) + html[second.end() :]


def no_list(html: str) -> str:
    return _once(r'data-rows="[a-z]+"', "", html)


def of_another_kind(html: str) -> str:
    return html.replace('data-kind="receipt"', 'data-kind="status" data-certificate="FTP-2026-06-000001"')


LEFT_OUT, SHOWS = r"the page leaves out {}, which is ", r"the page shows {} .*, the proof says "
EMPTY = r"the page shows {} .*, which is proved to be empty"
TELLING = {"value": (value, SHOWS), "text": (text, SHOWS), "no mark": (without, LEFT_OUT), "too much": (value, EMPTY)}
# By page: the proof, and by how it lies the fields of which. What pages mark otherwise is lied about without a browser.
FIELDS = {
    ("grant", "receipt"): {
        "value": ["body.number"],
        "text": ["leaf"],
        "no mark": ["time"],
        "too much": ["body.valid_from"],
    },
    ("statement", "receipt"): {
        "value": ["body.amount"],
        "text": ["body.agents.0.code", "expires"],
        "no mark": ["body.side"],
    },
    ("rejected event", "receipt"): {"value": ["outcome"], "text": ["rule"], "no mark": ["detail"]},
    ("certificate", "status"): {"value": ["valid"], "text": ["status"], "no mark": ["since"]},
    ("certificate", "history"): {
        "value": ["record.holder"],
        "text": ["record.valid_until", "record.evidence.0.digest"],
        "no mark": ["record.product.model"],
    },
    ("block", "block"): {
        "value": ["header.state_root"],
        "text": ["header.time", "header_leaf"],
        "no mark": ["signers.1.name"],
    },
    ("payment", "payment"): {
        "value": ["said.amount.0"],
        "text": ["agree.amount", "hops.0.code"],
        "no mark": ["sides.1.status"],
    },
}
ENTRIES = {
    ("certificate", "history"): ["kind", "time"],
    ("member", "completeness"): ["outcome", "id"],
    ("payment", "payment"): ["body.status", "member"],
}
LISTS = (
    ("first entry left out", first_row_out, r"the list leaves out what stands at place \d+"),
    ("last entry left out", last_row_out, r"the list leaves out what stands at place \d+"),
    ("an entry twice", row_twice, r"the list has place \d+ of the log twice"),
    ("an entry of its own", extra_row, r"the list has an entry of place 999999 of the log that is not proved"),
    ("entries turned round", rows_turned, r"the list has place \d+ of the log out of order"),
    ("no list", no_list, "the page leaves out the list of what is proved"),
)
LIES = [
    *(
        PageLie(
            page,
            f"{what} of {field}",
            kind,
            TELLING[what][0](f"{kind}.{field}"),
            TELLING[what][1].format(re.escape(field)),
        )
        for (page, kind), told in FIELDS.items()
        for what, fields in told.items()
        for field in fields
    ),
    *(
        PageLie(page, f"{field} of an entry", kind, value(f"{kind}.{field}"), rf"the page shows row\.\d+\.{field}")
        for (page, kind), fields in ENTRIES.items()
        for field in fields
    ),
    *(
        PageLie(page, what, kind, lie, says)
        for page, kind in (("certificate", "history"), ("member", "completeness"))
        for what, lie, says in LISTS
    ),
    PageLie("statement", "a text for the eye", "receipt", hidden("receipt.body.status"), SHOWS.format("body.status")),
    PageLie("grant", "a text beside the fields", "receipt", added("receipt.body"), "the page adds to body .* fee"),
    PageLie(
        "application", "a field under another's name", "receipt", label("Category", "Days"), "the page shows body Days"
    ),
    PageLie("grant", "a body without marks", "receipt", unmarked_whole, LEFT_OUT.format(r"body\.application")),
    PageLie("grant", "a proof of another kind", "receipt", of_another_kind, ""),
]
