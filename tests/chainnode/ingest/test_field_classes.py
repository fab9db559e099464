"""No field of a sensitive class reaches the chain in clear: by the types of all bodies, and by what events are made of.

A body of the kinds 32 to 63 can hold nothing but numbers in a range, codes of closed forms, words of closed sets, and
bytes of fixed sizes; and no event made of random private values holds one of these, as it is, written otherwise, or
hashed without a key.
"""

from __future__ import annotations

import base64
import hashlib
import inspect
import re
import types
from collections.abc import Iterator
from enum import Enum
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainnode.ingest.field_classes import BODY_FIELDS, PAYMENT_FIELDS, FieldClass
from chainnode.ingest.parsed import Agent, Amount, ParsedPayment, Party
from chainnode.ingest.privacy import PrivateField
from chainnode.ingest.statements import private_values, statement_for
from ledger.payments import AgentRole, AgentScheme
from ledger.registry import KINDS
from primitives.encoding import Record, encode
from primitives.ids import Hash, TimeMs
from primitives.keys import SIGNATURE_BYTES
from tests.chainnode.ingest.ingest_fixtures import REPOSITORY, context_of

KIND_NUMBERS = range(32, 64)
BYTES_MAX = 32
"""What is longer is no digest, key or id."""


def bodies() -> Iterator[type[Record]]:
    """Yield the bodies of the kinds of payments, and the records in them."""
    specs = [KINDS[kind] for kind in KIND_NUMBERS if kind in KINDS]
    found: list[type[Record]] = [type_ for spec in specs for type_ in spec.schemas.values()]
    seen = set()
    while found:
        type_ = found.pop()
        if type_ in seen:
            continue
        seen.add(type_)
        yield type_
        for hint in get_type_hints(type_, include_extras=True).values():
            found += [part for part, _ in leaves(hint) if isinstance(part, type) and issubclass(part, Record)]


def leaves(form: Any, metas: tuple[msgspec.Meta, ...] = ()) -> Iterator[tuple[Any, tuple[msgspec.Meta, ...]]]:
    """Yield the plain types in a type form, each with what is said of it."""
    if get_origin(form) is Annotated:
        inner, *said = get_args(form)
        yield from leaves(inner, (*metas, *(meta for meta in said if isinstance(meta, msgspec.Meta))))
    elif get_origin(form) in (Union, types.UnionType):
        for part in get_args(form):
            yield from leaves(part, metas)
    elif get_origin(form) in (tuple, list):
        assert any(meta.max_length is not None for meta in metas), f"a list without an end: {form}"
        for part in get_args(form):
            if part is not Ellipsis:
                yield from leaves(part)
    else:
        yield form, metas


def fault(form: Any, metas: tuple[msgspec.Meta, ...]) -> str | None:
    """Return why a type could hold something private in clear; None where it could not."""
    names = ("pattern", "min_length", "max_length", "ge", "le")
    said = {name: value for meta in metas for name in names if (value := getattr(meta, name)) is not None}
    if form in (bool, type(None)) or (isinstance(form, type) and issubclass(form, Enum | Record)):
        return None
    if form is int:
        return None if {"ge", "le"} <= said.keys() else "a number without a range"
    if form is bytes:
        is_signature = said.get("min_length") == said.get("max_length") == SIGNATURE_BYTES
        is_digest = said.get("max_length", BYTES_MAX + 1) <= BYTES_MAX
        return None if is_digest or is_signature else "bytes beyond a digest"
    if form is str:
        pattern = said.get("pattern", "")
        is_anchored = pattern.startswith((r"\A", "^")) and pattern.endswith((r"\Z", "$"))
        is_closed = is_anchored and "max_length" in said and not re.search(r"(?<!\\)\.[*+]|\\[sSwWD][*+]|\[\^", pattern)
        return None if is_closed else f"free text: {pattern or 'no pattern'}"
    return f"a type that is not known to be safe: {form}"


@pytest.mark.parametrize("type_", list(bodies()), ids=lambda type_: type_.__name__)
def test_a_body_can_hold_nothing_private_in_clear(type_: type[Record]) -> None:
    faults = {
        name: found
        for name, hint in get_type_hints(type_, include_extras=True).items()
        for form, metas in leaves(hint)
        if (found := fault(form, metas)) is not None
    }
    assert faults == {}


@pytest.mark.parametrize(
    "form",
    [
        str,
        Annotated[str, msgspec.Meta(max_length=40)],
        Annotated[str, msgspec.Meta(pattern=r"[A-Z]+", max_length=9)],
        Annotated[str, msgspec.Meta(pattern=r"\A.*\Z", max_length=9)],
        Annotated[str, msgspec.Meta(pattern=r"\A[^ ]+\Z", max_length=9)],
        bytes,
        Annotated[bytes, msgspec.Meta(max_length=64)],
        int,
        float,
        dict,
    ],
)
def test_the_check_would_notice_a_field_that_could(form: Any) -> None:
    assert [fault(*leaf) for leaf in leaves(form)] != [None]


def test_every_field_of_every_body_has_a_class() -> None:
    assert {type_: set(type_.__struct_fields__) for type_ in bodies()} == {
        type_: set(classes) for type_, classes in BODY_FIELDS.items()
    }


def names_of(type_: type, prefix: str = "") -> Iterator[str]:
    """Yield the fields of a parsed payment; parties and amounts by their own fields."""
    for name in inspect.signature(type_).parameters:
        inner = {"amount": Amount, "instructed_amount": Amount, "debtor": Party, "creditor": Party}.get(name)
        if not prefix and inner is not None:
            yield from names_of(inner, f"{name}.")
        else:
            yield prefix + name


def test_every_field_of_a_payment_has_a_class_and_those_of_the_sensitive_ones_are_committed_to_and_sealed() -> None:
    assert set(names_of(ParsedPayment)) == set(PAYMENT_FIELDS)
    sealed = {name for name, classes in PAYMENT_FIELDS.items() if FieldClass.SEALED in classes}
    committed = {name for name, classes in PAYMENT_FIELDS.items() if FieldClass.COMMITTED in classes}
    assert sealed - committed == {"source"}, "the message itself: its digest is committed to"
    both = {name.partition(".")[0] if "amount" in name else name.replace(".", "_") for name in committed}
    both = {{"end_to_end_id": "reference", "message_digest": "source"}.get(name, name) for name in both}
    assert both == {private.name.lower() for private in PrivateField}


def test_the_page_shows_the_table() -> None:
    text = (REPOSITORY / "docs" / "payment-privacy.md").read_text("utf-8")
    for name, classes in PAYMENT_FIELDS.items():
        shown = ", ".join(each.name.lower() for each in sorted(classes)) or "in no form"
        assert f"| `{name}` | {shown} |" in text


# --- what events are made of

LETTERS = st.characters(min_codepoint=33, max_codepoint=0x9FFF, exclude_categories=["Cs"])
WORDS = st.text(LETTERS, min_size=6, max_size=34)
ACCOUNTS = st.text("0123456789", min_size=13, max_size=19)
MINOR = st.integers(5 * 10**9, 10**12)  # no times


@st.composite
def payments(draw: st.DrawFn) -> ParsedPayment:
    """Draw a payment of which everything private is random."""
    return ParsedPayment(
        message_type="pacs.008.001.08",
        where="",
        message_digest=Hash(draw(st.binary(min_size=32, max_size=32))),
        index=draw(st.integers(0, 9)),
        created_ms=TimeMs(draw(st.integers(1_600_000_000_000, 1_900_000_000_000))),
        amount=Amount(draw(MINOR), "CNY"),
        agents=(
            Agent(AgentRole.DEBTOR_AGENT, AgentScheme.BIC, "BKAACNBJXXX"),
            Agent(AgentRole.CREDITOR_AGENT, AgentScheme.BIC, "BKABCNBJXXX"),
        ),
        end_to_end_id=draw(WORDS),
        transaction_id=draw(WORDS),
        message_id=draw(WORDS),
        instructed_amount=Amount(draw(MINOR), "CNY"),
        debtor=Party(draw(WORDS), draw(ACCOUNTS)),
        creditor=Party(draw(WORDS), draw(ACCOUNTS)),
        remittance=draw(WORDS),
    )


def forms_of(value: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield what a value would look like if it were not hidden."""
    yield "plain", value
    yield "utf-16", value.decode("utf-8", "replace").encode("utf-16-le")
    yield "hex", value.hex().encode()
    yield "HEX", value.hex().upper().encode()
    yield "base64", base64.b64encode(value).rstrip(b"=")
    yield "base64url", base64.urlsafe_b64encode(value).rstrip(b"=")
    for name in ("sha256", "sha1", "md5", "sha512", "sha3_256", "blake2b", "blake2s"):
        digest = hashlib.new(name, value).digest()
        yield name, digest[:16]
        yield f"{name} in hex", digest[:16].hex().encode()
    yield "sha256 of sha256", hashlib.sha256(hashlib.sha256(value).digest()).digest()[:16]


def leaks(values: dict[PrivateField, bytes], body: bytes) -> list[str]:
    """Return which values stand in a body, and how."""
    texts = {name.name: value for name, value in values.items() if name is not PrivateField.SETTLEMENT_DATE}
    numbers = {
        f"{name.name} in minor units": int(re.sub(rb"[^0-9]", b"", value))
        for name, value in values.items()
        if name in (PrivateField.AMOUNT, PrivateField.INSTRUCTED_AMOUNT)
    }
    found = [f"{name}: {form}" for name, value in texts.items() for form, shown in forms_of(value) if shown in body]
    return found + [name for name, number in numbers.items() if encode(number) in body]


@given(payments())
def test_no_private_value_stands_in_an_event_in_any_form(payment: ParsedPayment) -> None:
    for member in ("bank-a", "bank-b"):
        body = encode(statement_for(payment, context_of(member)).body)
        assert leaks(private_values(payment), body) == []


def test_the_search_would_find_each_form() -> None:
    value = "Zhào Guóqiáng".encode()
    for form, shown in forms_of(value):
        assert leaks({PrivateField.DEBTOR_NAME: value}, b"before" + shown + b"after"), form
    assert leaks({PrivateField.AMOUNT: b"CNY 10000.00"}, b"before" + encode(1_000_000))
