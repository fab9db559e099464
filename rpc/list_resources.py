"""`GET /certificates.csv`, `.json` and `.html`: the public list of certificates, streamed.

Here: HTTP around `rpc.certificate_lists`. A list is made in a thread, a few hundred certificates at a time, and no part
before the reader has taken the one before: it takes the same memory whatever its length, and the loop has its turn
in between. Only a few are made at a time, and each leaves as much time to others as it takes.
"""

from __future__ import annotations

import asyncio
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from typing import Final

import msgspec
import structlog
from aiohttp import web

from ledger.certificate_index import Numbers
from ledger.certificate_search import search
from primitives.errors import ChainError
from rpc.certificate_lists import FORMS, LANGUAGES, STYLE, Place, categories_of, list_parts
from rpc.errors import Code, RpcError, invalid_params
from rpc.jsonrpc import explain
from rpc.methods.certificate_list import FILTERS, ListCertificates, as_of_height, filters_of, height_of_past, place_of
from rpc.methods.certificate_status import covered_by, proved_now_ms
from rpc.methods.heights import index_of, tip_of
from rpc.ports import Services
from rpc.types import time_text

LISTS_AT_ONCE: Final = 2
PART_TIMEOUT_S: Final = 30
"""How long a reader may take for a part before the list is cut off."""

RETRY_MS: Final = 5_000
QUERY_CHARACTERS_MAX: Final = 4_096
TYPES: Final = dict(zip(FORMS, ("text/csv", "application/json", "text/html"), strict=True))
_STYLE_HASH: Final = b64encode(sha256(STYLE.encode()).digest()).decode()
HTML_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

log = structlog.get_logger("rpc")


class Lists:
    """Serves the list; `headers_of` are those of every answer, which a stream needs before it begins."""

    def __init__(self, services: Services, headers_of: Callable[[web.Request], Mapping[str, str]]) -> None:
        self._services, self._headers_of = services, headers_of
        self._making = 0

    def add_to(self, app: web.Application) -> None:
        """Add the paths."""
        app.router.add_get(f"/certificates.{{form:{'|'.join(FORMS)}}}", self._serve)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        form, params, language, with_bom = asked_of(request)
        place, since, parts = await asyncio.to_thread(self._begin, params, form, language, with_bom=with_bom)
        told = {
            "Cache-Control": "no-cache",
            "ETag": _tag(place, since, form, language, params, with_bom=with_bom),
            "As-Of-Block": str(place.height),
            "As-Of-Time": time_text(place.time_ms),
        }
        headers = {**self._headers_of(request), "Content-Type": f"{TYPES[form]}; charset=utf-8", **told}
        if form == "html":
            headers["Content-Security-Policy"] = HTML_POLICY
        else:
            headers["Content-Disposition"] = f'attachment; filename="certificates-{place.height}.{form}"'
        if told["ETag"].removeprefix("W/") in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=told)
        if self._making >= LISTS_AT_ONCE:
            raise RpcError(
                Code.LIMIT_EXCEEDED,
                "busy",
                "too many lists at a time",
                expected=f"at most {LISTS_AT_ONCE}",
                got="one more",
                retryable=True,
                retry_after_ms=RETRY_MS,
            )
        self._making += 1
        try:
            return await _streamed(request, headers, parts)
        finally:
            self._making -= 1

    def _begin(
        self, params: ListCertificates, form: str, language: str, *, with_bom: bool
    ) -> tuple[Place, tuple[int, int], Iterator[bytes]]:
        """Return what a list speaks for, since when it is the same, and its parts, none of which is made yet."""
        services = self._services
        index, filters = index_of(services), filters_of(services, params)
        height, time_ms = _place(services, params)
        as_of = as_of_height(services, height)
        at_ms = as_of.time_ms if time_ms is None else time_ms
        reads = services.reads
        place = Place(reads.genesis.chain, bytes(reads.chain_id).hex(), height, at_ms)
        walk = search(index, as_of, at_ms, filters, Numbers(height=height_of_past(params, height)))
        return (
            place,
            index.certificates_since(height, at_ms),
            list_parts(walk, place, categories_of(reads), form, language, with_bom=with_bom),
        )


def _place(services: Services, params: ListCertificates) -> tuple[int, int | None]:
    """Return the height and time of a list: unless told, of the newest block whose certificates' status is proved."""
    index = index_of(services)
    if params.at != "latest":
        return place_of(services, params.at, index)
    found = covered_by(services.reads, tip_of(services))
    if found is None or found[0] > index.height():
        return place_of(services, "latest", index)
    return found[0], proved_now_ms(services.reads, *found)


def asked_of(request: web.Request) -> tuple[str, ListCertificates, str, bool]:
    """Return the form, filters, language and whether a byte-order mark is wanted; -32602 for what is none of these."""
    if len(request.query_string) > QUERY_CHARACTERS_MAX:
        raise RpcError(
            Code.INVALID_PARAMS,
            "query_too_long",
            "the query is too long",
            expected=f"at most {QUERY_CHARACTERS_MAX} characters",
            got=len(request.query_string),
        )
    query = _once_each(request)
    language, bom = query.pop("lang", LANGUAGES[0]), query.pop("bom", "0")
    unknown = sorted(query.keys() - set(FILTERS))
    if unknown or language not in LANGUAGES or bom not in ("0", "1"):
        raise invalid_params(
            "not a filter of this list",
            where="query",
            expected=f"{', '.join(FILTERS)}, lang=en or zh, bom=0 or 1",
            got=(unknown or [language if language not in LANGUAGES else bom])[0][:100],
        )
    at = query.get("at", "")
    given = {**query, "at": int(at)} if at.isascii() and at.isdigit() and len(at) < len(str(1 << 53)) else dict(query)
    try:
        params = msgspec.convert(given, ListCertificates, strict=False)
    except msgspec.ValidationError as error:
        what, where, expected, found = explain(error)
        name = (where or "").removeprefix("$.")
        raise invalid_params(what, where=name or "query", expected=expected, got=found or query.get(name)) from None
    return request.match_info["form"], params, language, bom == "1"


def _once_each(request: web.Request) -> dict[str, str]:
    """Return the query by name; -32602 where a name stands twice, since one of the two would count for nothing."""
    repeated = [name for name in request.query if len(request.query.getall(name)) > 1]
    if repeated:
        raise invalid_params("a filter stands twice", where="query", expected="each once", got=repeated[0][:100])
    return {name: value for name, value in request.query.items() if value}


def _tag(
    place: Place, since: tuple[int, int], form: str, language: str, params: ListCertificates, *, with_bom: bool
) -> str:
    """Return the tag of a list: the same while no block changed a certificate and no term began or ended.

    It is a weak one (RFC 9110, 8.8.1): the block and time that a list names go on with the chain, its certificates do
    not. A 304 says in its headers as of which block and time they are still so.
    """
    asked = (form, language, with_bom, [getattr(params, name) for name in FILTERS if name != "at"])
    digest = sha256(msgspec.msgpack.encode((place.chain_id, since, asked))).hexdigest()[:16]
    return f'W/"{since[0]}-{digest}"'


async def _streamed(request: web.Request, headers: Mapping[str, str], parts: Iterator[bytes]) -> web.StreamResponse:
    """Send the parts one by one. Once a list has begun nothing can be refused: it is cut off, which a reader sees."""
    response = web.StreamResponse(headers=headers)
    first = await asyncio.to_thread(next, parts)
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    part: bytes | None = first
    try:
        while part is not None:
            if part:
                async with asyncio.timeout(PART_TIMEOUT_S):
                    await response.write(part)
            began = time.perf_counter()
            part = await asyncio.to_thread(next, parts, None)
            await asyncio.sleep(time.perf_counter() - began)
        await response.write_eof()
    except (ChainError, TimeoutError, ConnectionError) as error:
        log.warning("certificate_list_cut_off", error=str(error) or type(error).__name__)
        if request.transport is not None:
            request.transport.abort()
    return response
