"""Pages of certificates: the list with its filters, and one with its status, its life, its proof and its evidence."""

from __future__ import annotations

import re
from typing import Any

from ledger.catalogue import Category, read_catalogues
from ledger.certificate_bodies import NUMBER_PATTERN
from ledger.certificate_records import Status
from ledger.times import parse_time
from rpc.certificate_lists import FORMS
from rpc.errors import invalid_params
from rpc.explorer.asking import ROWS_A_PAGE, Asked, Page, Redirect, ask, path_to
from rpc.explorer.events import row_of
from rpc.explorer.lives import life
from rpc.explorer.marks import mark_of
from rpc.explorer.people import members_of, state_of
from rpc.explorer.proofs import history_steps, status_steps
from rpc.methods.blocks import get_block
from rpc.methods.certificate_list import list_certificates
from rpc.methods.certificate_status import get_certificate_status
from rpc.methods.certificates import certificate_history, get_certificate
from rpc.ports import Services

HISTORY_ROWS = 50
SEARCHED = ("number", "holder_name", "holder_id", "product")
"""Filters that are typed."""
_HEIGHT = re.compile(r"0|[1-9][0-9]{0,14}")


def certificates(asked: Asked) -> Page:
    """Certificates by number: of a holder, a status or a category, and by what stands in them."""
    status, holder, category = asked.word("status"), asked.word("holder"), asked.word("category")
    if category is not None and not re.fullmatch(r"[0-9]{1,2}", category):
        raise invalid_params("not a category", where="category", expected="a number", got=category)
    cursor, order = asked.word("cursor"), asked.word("order")
    number = asked.word("number")
    texts = {name: asked.word(name) for name in SEARCHED} | {"number": number and number.upper()}
    found = ask(
        list_certificates,
        asked.services,
        holder=holder,
        status=status,
        category=None if category is None else int(category),
        limit=ROWS_A_PAGE,
        order=order,
        cursor=cursor,
        **texts,
    )
    filters = {"status": status, "holder": holder, "category": category, **texts}
    chosen = {**filters, "order": order}
    values = {
        "certificates": found.certificates,
        "categories": categories(asked.services),
        "statuses": [item.value for item in Status],
        "holders": [member.id for member in members_of(asked.services)],
        "chosen": chosen,
        "filtered": any(filters.values()),
        "files": [(form, path_to(f"certificates.{form}", **filters)) for form in FORMS],
        "first": path_to("certificates", **chosen) if cursor else None,
        "more": path_to("certificates", **chosen, cursor=found.cursor) if found.cursor else None,
    }
    return Page("certificates.html", "certificates.title", values, as_of=found.as_of)


def categories(services: Services) -> dict[int, Category]:
    """Return the categories of all versions of the catalogue, the newest words for each."""
    found = {
        category.number: category
        for catalogue in read_catalogues(state_of(services))
        for category in catalogue.categories
    }
    return dict(sorted(found.items()))


def certificate(asked: Asked) -> Page | Redirect:
    """One certificate: what it is worth now or at a time, its record, its life."""
    number = asked.parts["number"]
    if not re.match(NUMBER_PATTERN, number):
        if re.match(NUMBER_PATTERN, number.upper()):
            return Redirect(path_to("certificate", number.upper()))
        raise invalid_params(
            "not a certificate's number", where="path", expected="such as FTP-2026-06-000123", got=number
        )
    services = asked.services
    at = asked.word("at")
    standing = ask(get_certificate_status, services, number=number, at=moment(at))
    # The record as of the block that its status is proved of, so that one proof of its history holds for both.
    proved = None if at is not None or not standing.exists else standing.height
    found = ask(get_certificate, services, number=number, height=proved)
    record = found.certificate
    history = ask(certificate_history, services, number=number, limit=HISTORY_ROWS, cursor=asked.word("cursor"))
    category = categories(services).get(record.category)
    header = ask(get_block, services, height=standing.height).header
    whole = None if asked.word("cursor") or history.cursor else history.events
    values: dict[str, Any] = {
        "record": record,
        "scheme": found.scheme,
        "mark": mark_of(services, number, asked.word("mark")),
        "standing": standing,
        "at": at or "",
        "category": category,
        "life": None if whole is None else life(record, whole, int(parse_time(standing.time, where="time"))),
        "history": [{**row_of(event), "body": event.body} for event in history.events],
        "above": history.above_height,
        "first": path_to("certificate", number) if asked.word("cursor") else None,
        "more": path_to("certificate", number, cursor=history.cursor) if history.cursor else None,
        "steps": status_steps(number, standing.height, header.state_root),
        "proof_url": path_to("certificate", number, "status.tlog-proof", at=at),
        "command": f"chainnode cert status {number}{f' --at {standing.time}' if at else ''} --proof status.tlog-proof",
        "check": "chainnode verify status.tlog-proof --policy policy",
        "history_steps": history_steps(number, record.history.count, record.history.hash),
        "history_url": path_to("certificate", number, "history.tlog-proof", at=proved),
        "history_command": f"chainnode cert history {number} --proof history.proofs",
        "history_check": "chainnode verify history.proofs --policy policy",
    }
    return Page("certificate.html", "certificate.title", values, {"number": number}, as_of=standing.as_of)


def moment(at: str | None) -> int | str | None:
    """Return a height or a time as the API takes it; a date alone is its beginning, in UTC."""
    if at is None or not _HEIGHT.fullmatch(at):
        return f"{at}T00:00:00Z" if at is not None and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", at) else at
    return int(at)
