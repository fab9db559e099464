"""cert_list: certificates by number, holder, product, category, catalogue, status and dates, as of any time.

Here: the filters as parameters, and a page of what fits them. The public list takes the same filters
(`rpc.certificate_lists`). Not here: which certificates fit (`ledger.certificate_search`). Source: domain §3.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Final

import msgspec

from ledger.catalogue import CATEGORY_MAX
from ledger.certificate_index import Numbers
from ledger.certificate_reading import CertificatesAsOf
from ledger.certificate_records import Status
from ledger.certificate_search import Filters, Listed, search
from ledger.holder_ids import LEI_PATTERN, USCC_PATTERN, is_holder_id
from ledger.members import TEXT_PATTERN
from ledger.times import parse_time
from primitives.errors import InputError
from rpc.errors import Code, RpcError, invalid_params, unavailable
from rpc.methods.certificate_parts import ProductResult, product_result
from rpc.methods.certificate_status import moment_of
from rpc.methods.certificates import StatusWords, status_words
from rpc.methods.heights import index_of, tip_of
from rpc.methods.known_members import check_member
from rpc.paging import page_of
from rpc.ports import IndexReads, Services
from rpc.registry import method
from rpc.rights import Access
from rpc.types import (
    LIMIT_DEFAULT,
    AskedCursor,
    AskedOrder,
    AsOf,
    HeightNumber,
    Limit,
    MemberName,
    NextCursor,
    Params,
    Result,
    Time,
    time_text,
)

LOOKED_THROUGH_MAX: Final = 20_000
"""How many certificates a page looks at."""

PAST_MAX: Final = 500
"""For how many of them it looks up the state of a past block."""

CATALOGUE_MAX: Final = 9_999
TEXT_CHARACTERS_MAX: Final = 200
DAY_MS: Final = 86_400_000
NUMBER_BEGINNING_PATTERN: Final = r"\A[A-Z]{1,8}(?:-[0-9]{0,4}(?:-[0-9]{0,2}(?:-[0-9]{0,8})?)?)?\Z"
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

SearchedText = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=TEXT_CHARACTERS_MAX,
        pattern=TEXT_PATTERN,
        description="A part of the text, in whatever case and width.",
        examples=["ct-1"],
    ),
]
AskedDay = Annotated[
    str,
    msgspec.Meta(
        min_length=10,
        max_length=40,
        description="A time (RFC 3339), or a day in UTC: its beginning where a span begins, its end where one ends.",
        examples=["2026-07-01"],
    ),
]


class ListCertificates(Params, frozen=True):
    """Certificates that fit all of the filters, upwards by number unless `order` says otherwise.

    `number` is the beginning of theirs, `holder` their holder's member, `holder_name` and `product` (name, model or
    version) are parts of these texts in whatever case, `holder_id` is a USCC or LEI, `granted` is the beginning of
    their term; both ends of a span of dates are in it. `status` is theirs at the time of the list: `at`, a height or a
    time that has come.
    """

    holder: MemberName | None = None
    limit: Limit = LIMIT_DEFAULT
    order: AskedOrder = None
    cursor: AskedCursor = None
    status: Annotated[Status | None, msgspec.Meta(description="Their status at the time of the list.")] = None
    category: (
        Annotated[int, msgspec.Meta(ge=1, le=CATEGORY_MAX, description="The category of their product.")] | None
    ) = None
    number: (
        Annotated[
            str,
            msgspec.Meta(
                pattern=NUMBER_BEGINNING_PATTERN, description="The beginning of their number.", examples=["FTP-2026"]
            ),
        ]
        | None
    ) = None
    holder_name: SearchedText | None = None
    holder_id: (
        Annotated[
            str,
            msgspec.Meta(
                min_length=1,
                max_length=40,
                description="A USCC (GB 32100) or an LEI (ISO 17442), its check digits right.",
                examples=["HWUPKR0MPOU8FGXBT394"],
            ),
        ]
        | None
    ) = None
    product: SearchedText | None = None
    catalogue: (
        Annotated[int, msgspec.Meta(ge=1, le=CATALOGUE_MAX, description="The version they were granted by.")] | None
    ) = None
    granted_from: AskedDay | None = None
    granted_to: AskedDay | None = None
    valid_until_from: AskedDay | None = None
    valid_until_to: AskedDay | None = None
    at: Annotated[HeightNumber | str, msgspec.Meta(description="A height, or a time in RFC 3339 UTC.")] = "latest"


FILTERS: Final = tuple(name for name in ListCertificates.__struct_fields__ if name not in ("limit", "order", "cursor"))
"""The parameters that say which certificates are listed, and as of when."""


class ListedCertificate(Result, frozen=True):
    """A certificate in a list; `holder_id` is empty where it was granted without one."""

    number: str
    holder: str
    holder_name: str
    holder_id: str
    product: ProductResult
    category: int
    catalogue: int
    status: StatusWords
    valid_from: Time
    valid_until: Time


class CertificatesResult(Result, frozen=True):
    """Certificates with their status at `time`, as the block at `as_of` left them; `cursor` asks for the next.

    A page may hold fewer than `limit`, or none, and yet have a cursor: only so many certificates are looked at for one.
    """

    certificates: list[ListedCertificate]
    cursor: NextCursor
    time: Time
    as_of: AsOf


@method(
    "cert_list",
    params=ListCertificates,
    result=CertificatesResult,
    errors=(Code.NOT_FOUND, Code.UNAVAILABLE),
    in_thread=True,
    access=Access.PUBLIC,
)
def list_certificates(services: Services, params: ListCertificates) -> CertificatesResult:
    """Certificates by number, holder, product, category, catalogue, status and dates, with their status.

    Upwards by number, unless `order` says otherwise.
    """
    index, filters = index_of(services), filters_of(services, params)
    height, time_ms = place_of(services, params.at, index)
    asked = {name: getattr(params, name) for name in FILTERS}
    page = page_of(services, "cert_list", params, tuple[str], "asc", **asked)
    after = None if page.after is None else page.after[0]
    as_of = as_of_height(services, height)
    at_ms = as_of.time_ms if time_ms is None else time_ms
    walk = search(
        index,
        as_of,
        at_ms,
        filters,
        Numbers(after=after, descending=page.descending, height=height_of_past(params, height)),
    )
    found, last = _page(walk, as_of, params.limit)
    return CertificatesResult(found, None if last is None else page.cursor(last), time_text(at_ms), height)


def _page(
    walk: Iterator[tuple[str, Listed | None]], as_of: CertificatesAsOf, limit: int
) -> tuple[list[ListedCertificate], str | None]:
    """Return a page, and the number to go on after; None at the end."""
    found: list[ListedCertificate] = []
    last: str | None = None
    for looked, (number, item) in enumerate(walk):
        # Past ones are counted with the one at hand, which is looked up by now: the page goes on with it.
        if len(found) == limit or looked >= LOOKED_THROUGH_MAX or as_of.past > PAST_MAX:
            return found, last
        if item is not None:
            found.append(_listed(item))
        last = number
    return found, None


def place_of(services: Services, at: int | str, index: IndexReads) -> tuple[int, int | None]:
    """Return the height that a list speaks for and the time where one is named; -32002 above what is indexed."""
    reached = int(index.height())
    if at == "latest":
        return reached, None
    height, time_ms = moment_of(services, at, tip_of(services))
    if height > reached:
        raise unavailable(
            "index_behind", f"the index has reached height {reached} so far", hint="ask again in a moment"
        )
    return height, time_ms


def height_of_past(params: ListCertificates, height: int) -> int | None:
    """Return the height above which no certificate of a list was granted; None where it is of the present."""
    return None if params.at == "latest" else height


def as_of_height(services: Services, height: int) -> CertificatesAsOf:
    """Return the certificates as of a height that the chain has reached."""
    header = services.reads.header(height)
    assert header is not None, "the index never reaches above the log"
    return CertificatesAsOf(services.reads, header)


def filters_of(services: Services, params: ListCertificates) -> Filters:
    """Return the filters that parameters name; -32602 for an id or a span that cannot be, -32001 for no member."""
    check_member(services, params.holder, "$.holder")
    holder_id = None if params.holder_id is None else checked_holder_id(params.holder_id)
    return Filters(
        number=params.number or "",
        holder=params.holder,
        holder_name=params.holder_name,
        holder_id=holder_id,
        product=params.product,
        category=params.category,
        catalogue=params.catalogue,
        status=params.status,
        granted_from_ms=_day(params.granted_from, "$.granted_from"),
        granted_to_ms=_day(params.granted_to, "$.granted_to", params.granted_from, is_end=True),
        until_from_ms=_day(params.valid_until_from, "$.valid_until_from"),
        until_to_ms=_day(params.valid_until_to, "$.valid_until_to", params.valid_until_from, is_end=True),
    )


def checked_holder_id(text: str, where: str = "$.holder_id") -> str:
    """Return a USCC or LEI in capitals; -32602 `bad_holder_id` where its form or its check digits are wrong."""
    asked = text.strip().upper()
    if is_holder_id(asked):
        return asked
    kinds = [name for name, form in (("USCC", USCC_PATTERN), ("LEI", LEI_PATTERN)) if form.fullmatch(asked)]
    what = f"the check digits of this {kinds[0]} are wrong" if kinds else "neither a USCC nor an LEI"
    raise RpcError(
        Code.INVALID_PARAMS,
        "bad_holder_id",
        what,
        where=where,
        expected="a USCC of 18 characters (GB 32100) or an LEI of 20 (ISO 17442), with their check digits",
        got=text,
    )


def _day(text: str | None, where: str, begin: str | None = None, *, is_end: bool = False) -> int | None:
    """Return a time or day in milliseconds; `begin` is where its span begins. -32602 where it is none, or before."""
    if text is None:
        return None
    is_day = _DATE.fullmatch(text) is not None
    try:
        time_ms = int(parse_time(f"{text}T00:00:00Z" if is_day else text, where=where))
    except InputError as error:
        raise invalid_params(
            "neither a day nor a time",
            where=where,
            expected="such as 2026-07-01 or 2026-07-01T08:00:00Z",
            got=error.got,
        ) from None
    if is_day and is_end:
        time_ms += DAY_MS - 1
    began_ms = _day(begin, where) if begin is not None else None
    if began_ms is not None and time_ms < began_ms:
        raise RpcError(
            Code.INVALID_PARAMS,
            "dates_backwards",
            "a span of dates that ends before it begins",
            where=where,
            expected=f"{begin} or later",
            got=text,
        )
    return time_ms


def _listed(item: Listed) -> ListedCertificate:
    certificate, scheme = item.found
    return ListedCertificate(
        certificate.number,
        certificate.holder,
        certificate.holder_name,
        scheme.holder_id,
        product_result(certificate.product),
        certificate.category,
        certificate.catalogue,
        status_words(item.status),
        time_text(certificate.valid_from_ms),
        time_text(certificate.valid_until_ms),
    )


METHODS = (list_certificates,)
