"""audit_search: one box for every reference that people and messages carry.

Whatever a reference can mean is looked up, so that digits alone find the block and the checkpoint, and 64 hex digits an
event, a block or a payment. Not here: free text; nothing on the chain is searched for words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from enum import StrEnum
from itertools import islice
from typing import Annotated

import msgspec

from ledger.certificate_bodies import NUMBER_PATTERN
from ledger.certificate_index import Facet, Numbers
from ledger.certificate_records import certificate_key
from ledger.committed_state import CommittedState
from ledger.holder_ids import is_holder_id
from ledger.id_prefixes import PREFIX_DIGITS_MIN
from ledger.members import Member, read_members, read_validators
from ledger.payments import uetr_text
from primitives.ids import HASH_BYTES
from rpc.errors import Code
from rpc.methods.heights import index_of, tip_of
from rpc.ports import Services
from rpc.registry import method
from rpc.types import HEIGHT_MAX, AsOf, Params, Result

HITS_MAX = 20
QUERY_CHARACTERS_MAX = 200
NAMED_CHARACTERS_MIN = 3
"""A part of a member's name, or of its id, is looked for from so many characters on."""

_HEX = re.compile(rf"[0-9a-f]{{{PREFIX_DIGITS_MIN},64}}")
_UUID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}")
_NUMBER_BEGINNING = re.compile(r"[A-Z]{2,8}(?:-[0-9-]*)?")
_HEIGHT = re.compile(r"[0-9]{1,15}")
_CODE = re.compile(r"[A-Z0-9]{8,20}")


class HitKind(StrEnum):
    """What a search finds."""

    EVENT = "event"
    BLOCK = "block"
    CERTIFICATE = "certificate"
    PAYMENT = "payment"
    MEMBER = "member"
    CHECKPOINT = "checkpoint"


class Search(Params, frozen=True):
    """A reference, or the beginning of an event's id or of a certificate's number."""

    query: Annotated[str, msgspec.Meta(min_length=1, max_length=QUERY_CHARACTERS_MAX, description="What to look for.")]


class Hit(Result, frozen=True):
    """One thing: what it is, the name by which its own method takes it, and how it was found."""

    kind: HitKind
    name: str
    by: str


class SearchResult(Result, frozen=True):
    """What was found, at most 20; `more` says that there is more of it."""

    query: str
    hits: list[Hit]
    more: bool
    as_of: AsOf


@method("audit_search", params=Search, result=SearchResult, errors=(Code.UNAVAILABLE,), in_thread=True)
def search(services: Services, params: Search) -> SearchResult:
    """Events, blocks, certificates, payments, members and checkpoints by any reference."""
    tip = tip_of(services)
    query = params.query.strip()
    hits: dict[tuple[HitKind, str], Hit] = {}
    for look in _LOOKS:
        for hit in look(services, query):
            hits.setdefault((hit.kind, hit.name), hit)
    found = list(hits.values())
    return SearchResult(query, found[:HITS_MAX], len(found) > HITS_MAX, int(tip.height))


def _numbers(services: Services, query: str) -> Iterator[Hit]:
    """Yield the block of a height and the checkpoint of a size."""
    text = query.replace(",", "").replace(" ", "")
    if not _HEIGHT.fullmatch(text):
        return
    number, tip = int(text), tip_of(services)
    if number <= min(tip.height, HEIGHT_MAX) and (number == 0 or number > services.reads.base()):
        yield Hit(HitKind.BLOCK, str(number), "height")
    if services.reads.checkpoint_at(number) is not None:
        yield Hit(HitKind.CHECKPOINT, str(number), "size")


def _hashes(services: Services, query: str) -> Iterator[Hit]:
    """Yield what a hash, or the beginning of an event's id, stands for."""
    digits = query.lower().removeprefix("0x")
    if not _HEX.fullmatch(digits):
        return
    if len(digits) == 2 * HASH_BYTES:
        data = bytes.fromhex(digits)
        if services.reads.block_by_hash(data) is not None:
            yield Hit(HitKind.BLOCK, digits, "hash")
        if services.reads.position(data) is not None:
            yield Hit(HitKind.EVENT, digits, "id")
        if index_of(services).payment(data, count=1):
            yield Hit(HitKind.PAYMENT, digits, "pair_key")
        return
    for event_id in index_of(services).event_ids(digits, HITS_MAX + 1):
        yield Hit(HitKind.EVENT, event_id.hex(), "id_beginning")


def _uetrs(services: Services, query: str) -> Iterator[Hit]:
    text = query.lower()
    if not _UUID.fullmatch(text):
        return
    uetr = bytes.fromhex(text.replace("-", ""))
    if index_of(services).payment(uetr, count=1):
        yield Hit(HitKind.PAYMENT, uetr_text(uetr), "uetr")


def _certificates(services: Services, query: str) -> Iterator[Hit]:
    """Yield the certificate of a number, or those whose numbers begin so."""
    text = query.upper()
    if re.match(NUMBER_PATTERN, text):
        value = services.reads.state_value(certificate_key(text))
        if value is not None and value.value is not None:
            yield Hit(HitKind.CERTIFICATE, text, "number")
            return
    if not _NUMBER_BEGINNING.fullmatch(text):
        return
    after = text[:-1] + chr(ord(text[-1]) - 1) + "~"  # below everything that begins so, above all before
    for number in index_of(services).certificates(holder=None, after=after, count=HITS_MAX + 1, descending=False):
        if number.startswith(text):
            yield Hit(HitKind.CERTIFICATE, number, "number_beginning")


def _holders(services: Services, query: str) -> Iterator[Hit]:
    """Yield the certificates of the holder with a USCC or LEI whose check digits are right."""
    holder_id = query.upper().replace(" ", "")
    if not is_holder_id(holder_id):
        return
    found = index_of(services).numbers_by_facet(Facet.HOLDER_ID, (holder_id,), Numbers())
    for number in islice(found, HITS_MAX + 1):
        yield Hit(HitKind.CERTIFICATE, number, "holder_id")


def _members(services: Services, query: str) -> Iterator[Hit]:
    """Yield the members that a name, a code or a validator's name stands for."""
    state = CommittedState(services.reads.store)
    named, code = query.casefold(), query.upper().replace(" ", "")
    of_validators = {validator.name.casefold(): validator.member for validator in read_validators(state).validators}
    for member in read_members(state):
        by = _how(member, named, code)
        if by is None and of_validators.get(named) == member.id:
            by = "validator"
        if by is not None:
            yield Hit(HitKind.MEMBER, member.id, by)


def _how(member: Member, named: str, code: str) -> str | None:
    if member.id == named:
        return "id"
    if _CODE.fullmatch(code) and code in member.agents:
        return "code"
    words = (member.name.casefold(), member.id)
    if named in words or (len(named) >= NAMED_CHARACTERS_MIN and any(named in each for each in words)):
        return "name"
    return None


_LOOKS: tuple[Callable[[Services, str], Iterator[Hit]], ...] = (
    _numbers,
    _hashes,
    _uetrs,
    _certificates,
    _holders,
    _members,
)

METHODS = (search,)
