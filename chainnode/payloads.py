"""Payloads: what of a payment is private, as it is kept and disclosed, and the drawing of event keys.

Here: from an adapter's drafts to what `chainnode.private_store` keeps, and back. Not here: the store itself, and the
commitments that the values stand under (`chainnode.ingest.privacy`).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final

from msgspec import Meta

from chainnode.ingest.drafts import Draft
from chainnode.ingest.jsonl import object_text
from chainnode.ingest.privacy import FIELD_COUNT, SECRET_SIZE, PrivateField
from chainnode.ingest.xml_text import to_utf8
from chainnode.private_store import PAYLOAD_BYTES_MAX, Kept, PrivateStore
from ledger.events import EVENT_SIZE_MAX, TIME_MS_MAX, Event, event_id
from ledger.payments import PaymentStatement
from primitives.encoding import Record, decode, encode
from primitives.errors import InputError

PAYLOAD_VERSION: Final = 1
_DOCUMENT: Final = re.compile(rb"<((?:[A-Za-z_][\w.-]*:)?Document)[\s>].*?</\1\s*>", re.DOTALL)
"""A message of ISO 20022 in whatever is around it."""


class PayloadField(Record):
    """A private field of a payment and its value, as it was committed to."""

    field: PrivateField
    value: bytes


class Payload(Record):
    """The private values of one statement, ascending by field; `event` is the id of its event."""

    version: Annotated[int, Meta(ge=PAYLOAD_VERSION, le=PAYLOAD_VERSION)]
    event: Annotated[bytes, Meta(min_length=32, max_length=32)]
    fields: Annotated[tuple[PayloadField, ...], Meta(max_length=FIELD_COUNT)]

    @property
    def values(self) -> dict[PrivateField, bytes]:
        """Return the values by field."""
        return {item.field: item.value for item in self.fields}


def read_payload(data: bytes) -> Payload:
    """Return a payload. Raises InputError where these bytes are none."""
    payload = decode(Payload, data, size_max=PAYLOAD_BYTES_MAX)
    numbers = [item.field for item in payload.fields]
    if numbers != sorted(set(numbers)):
        raise InputError("fields of a payload out of order", expected="strictly ascending", got=list(map(int, numbers)))
    return payload


class StatedOtherwise(InputError):
    """The message was stated before in other words, which are not kept."""

    reason = "stated_otherwise"


class Keeper:
    """Draws the key of each event at random, finds again what was drawn, and keeps what is private before it is sent.

    The first fate of a message counts: one that was kept before is given as it was stated then (decision record 20).

    The store is opened at the first statement and held, against other processes, until `close`. `dry` keeps nothing.
    """

    def __init__(self, directory: Path, *, dry: bool = False) -> None:
        self._directory = directory
        self._dry = dry
        self._store: PrivateStore | None = None
        self._drawn: dict[bytes, bytes] = {}
        self._found: set[bytes] = set()

    def event_key_of(self, reference: bytes) -> bytes:
        """Return the event key (32 bytes) of a reference. Raises `private_store.Erased`."""
        if reference not in self._drawn:
            found = None if self._dry and not self._directory.is_dir() else self._opened().event_key(reference)
            if found is not None:
                self._found.add(reference)
            self._drawn[reference] = found or os.urandom(SECRET_SIZE)
        return self._drawn[reference]

    def keep(self, member: str, drafts: Iterable[Draft], data: bytes, partial: Set[bytes] = frozenset()) -> list[Draft]:
        """Keep what is private of the statements of a file; returns what is to be sent. On disk when it returns.

        Of a message that was kept before that is its first event, byte for byte. `partial` holds the digests of
        messages that tell of more than the drafts: of those the values alone are kept. Raises `StatedOtherwise`.
        """
        drafts = list(drafts)
        sent = [self._as_first(member, draft) if draft.reference in self._found else draft for draft in drafts]
        stated = [draft for draft in drafts if draft.statement is not None]
        if stated and not self._dry:
            keep_drafts(self._opened(), member, stated, data, partial)
        return sent

    def _as_first(self, member: str, draft: Draft) -> Draft:
        assert draft.reference is not None, "it was found by it"
        first = self._opened().first(draft.reference)
        if first is None or first.event_id == _event_id(member, draft):
            return draft
        if first.body is None:
            raise StatedOtherwise(
                "stated before in other words, which an earlier release did not keep",
                where=draft.where,
                expected="the options with which it was submitted first",
                got=f"event {first.event_id.hex()}",
                hint="submit it with those options, or leave it out",
            )
        before, now = (decode(PaymentStatement, body, size_max=EVENT_SIZE_MAX) for body in (first.body, draft.body))
        differs = tuple(name for name in now.__struct_fields__ if getattr(before, name) != getattr(now, name))
        return replace(draft, schema=first.schema, body=first.body, differs=differs)

    def _opened(self) -> PrivateStore:
        if self._store is None:
            self._store = PrivateStore(self._directory)
        return self._store

    def close(self) -> None:
        """Let go of the store."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def __enter__(self) -> Keeper:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def keep_drafts(
    store: PrivateStore, member: str, stated: Sequence[Draft], data: bytes, partial: Set[bytes] = frozenset()
) -> int:
    """Keep what is private of the statements of a file; returns how many are new."""
    digests = [draft.statement.values[PrivateField.SOURCE] for draft in stated if draft.statement is not None]
    # Nobody could erase by name what a message tells of a payment that was left out, and a package would show it.
    messages, place_of = source_messages(data, [digest for digest in digests if digest not in partial])
    kept = []
    for draft, digest in zip(stated, digests, strict=True):
        assert draft.statement is not None, "only statements are kept"
        secrets = draft.statement.secrets
        identity = _event_id(member, draft)
        payload = encode(payload_of(identity, draft.statement.values))
        place = place_of(digest)
        kept.append(Kept(secrets.reference, identity, secrets.event_key, payload, place, draft.schema, draft.body))
    return store.keep(kept, messages)


def _event_id(member: str, draft: Draft) -> bytes:
    """Return the id of a statement's event: a record never expires, so it is known before it is sent."""
    assert draft.reference is not None, "a statement has one"
    event = Event(member, draft.reference, TIME_MS_MAX, draft.kind, draft.schema, draft.body)
    return event_id(encode(event), draft.kind)


def payload_of(identity: bytes, values: dict[PrivateField, bytes]) -> Payload:
    """Return the payload of an event."""
    return Payload(PAYLOAD_VERSION, identity, tuple(PayloadField(name, values[name]) for name in sorted(values)))


def source_messages(data: bytes, digests: Sequence[bytes]) -> tuple[list[bytes], Callable[[bytes], int | None]]:
    """Return the messages of a file that have these SHA-256 digests, and the place of each digest's.

    A message is the whole file, a document in it, or a line: its bytes, or the object that it tells, as it was
    digested. Of what is none of these nothing is kept but its values. Where a format keeps lines of its own
    (`Ingested.kept`), `data` is those.
    """
    wanted = set(digests)
    places: dict[bytes, int] = {}
    messages: list[bytes] = []
    for form in _forms_of(data):
        digest = sha256(form).digest()
        if digest in wanted and digest not in places:
            places[digest] = len(messages)
            messages.append(form)
        if len(places) == len(wanted):
            break
    return messages, places.get


def _forms_of(data: bytes) -> Iterator[bytes]:
    """Yield what of a file may be a message by itself."""
    yield data
    if b"<" in data[:8]:  # behind a byte order mark, or in UTF-16
        with suppress(InputError):
            yield from (found[0] for found in _DOCUMENT.finditer(to_utf8(data, where="file")))
    elif data.lstrip().startswith((b"{", b"\xef\xbb\xbf{")):
        for line in data.splitlines():
            with suppress(ValueError):
                yield object_text(json.loads(line)).encode()
    else:
        yield from data.split(b"\n")
