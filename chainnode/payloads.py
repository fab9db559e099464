"""Payloads: what of a payment is private, as it is kept and disclosed, and the drawing of event keys.

Here: from an adapter's drafts to what `chainnode.private_store` keeps, and back. Not here: the store itself, and the
commitments that the values stand under (`chainnode.ingest.privacy`).
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final

from msgspec import Meta

from chainnode.ingest.drafts import Draft
from chainnode.ingest.jsonl import object_text
from chainnode.ingest.privacy import FIELD_COUNT, SECRET_SIZE, PrivateField
from chainnode.private_store import PAYLOAD_BYTES_MAX, Kept, PrivateStore
from ledger.events import TIME_MS_MAX, Event, event_id
from primitives.encoding import Record, decode, encode
from primitives.errors import InputError

PAYLOAD_VERSION: Final = 1


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


class Keeper:
    """Draws the key of each event at random, finds again what was drawn, and keeps what is private before it is sent.

    The store is opened at the first statement and held, against other processes, until `close`. `dry` keeps nothing.
    """

    def __init__(self, directory: Path, *, dry: bool = False) -> None:
        self._directory = directory
        self._dry = dry
        self._store: PrivateStore | None = None
        self._drawn: dict[bytes, bytes] = {}

    def event_key_of(self, reference: bytes) -> bytes:
        """Return the event key (32 bytes) of a reference. Raises `private_store.Erased`."""
        if reference not in self._drawn:
            found = None if self._dry and not self._directory.is_dir() else self._opened().event_key(reference)
            self._drawn[reference] = found or os.urandom(SECRET_SIZE)
        return self._drawn[reference]

    def keep(self, member: str, drafts: Iterable[Draft], data: bytes) -> int:
        """Keep what is private of the statements of a file; returns how many are new. On disk when it returns."""
        stated = [draft for draft in drafts if draft.statement is not None]
        return 0 if self._dry or not stated else keep_drafts(self._opened(), member, stated, data)

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


def keep_drafts(store: PrivateStore, member: str, stated: Sequence[Draft], data: bytes) -> int:
    """Keep what is private of the statements of a file; returns how many are new."""
    digests = [draft.statement.values[PrivateField.SOURCE] for draft in stated if draft.statement is not None]
    messages, place_of = source_messages(data, digests)
    kept = []
    for draft, digest in zip(stated, digests, strict=True):
        assert draft.statement is not None, "only statements are kept"
        secrets = draft.statement.secrets
        # A record never expires, so its id is known before it is sent.
        event = Event(member, secrets.reference, TIME_MS_MAX, draft.kind, draft.schema, draft.body)
        identity = event_id(encode(event), draft.kind)
        payload = encode(payload_of(identity, draft.statement.values))
        kept.append(Kept(secrets.reference, identity, secrets.event_key, payload, place_of(digest)))
    return store.keep(kept, messages)


def payload_of(identity: bytes, values: dict[PrivateField, bytes]) -> Payload:
    """Return the payload of an event."""
    return Payload(PAYLOAD_VERSION, identity, tuple(PayloadField(name, values[name]) for name in sorted(values)))


def source_messages(data: bytes, digests: Sequence[bytes]) -> tuple[list[bytes], Callable[[bytes], int]]:
    """Return the messages of a file that have these SHA-256 digests, and the place of each digest's.

    A message is the whole file, a line of it, or the object that a line or row tells, in the form that was digested; of
    what is none of these, such as a message in an envelope, the file stands for each.
    """
    wanted = set(digests)
    places: dict[bytes, int] = {}
    messages: list[bytes] = []
    if wanted and wanted != {sha256(data).digest()}:
        for form in _forms_of(data):
            digest = sha256(form).digest()
            if digest in wanted and digest not in places:
                places[digest] = len(messages)
                messages.append(form)
    whole = len(messages)
    if wanted - places.keys():
        messages.append(data)
    return messages, lambda digest: places.get(digest, whole)


def _forms_of(data: bytes) -> Iterator[bytes]:
    """Yield what of a file may be a message by itself."""
    for line in data.splitlines():
        yield line
        if line.lstrip().startswith(b"{"):
            with suppress(ValueError):
                yield object_text(json.loads(line)).encode()
    if data.lstrip()[:1] not in (b"<", b"{"):
        with suppress(csv.Error, UnicodeDecodeError):
            for row in csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")):
                yield object_text({name: text for name, text in row.items() if name and text}).encode()
