"""The explorer's scripts read the bodies of all kinds of event as the API gives them, from their canonical bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, timedelta
from enum import Enum
from random import Random
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from msgspec.structs import fields, replace

from ledger.currencies import EXPONENTS
from ledger.event_json import record_to_json
from ledger.payments import PAYMENT_STATEMENT, PaymentStatement
from ledger.payments_json import statement_to_json
from ledger.registry import KINDS
from primitives.encoding import Record, encode
from tests.web.test_pages import run_node

SEED = 20_261_122
EACH = 6
TEXTS = ("", "bank-a", "FTP-2026-06-000001", "跨行 \u2028 <b>", "x" * 300)
READ = """
import './hooks.mjs';
import { fromHex } from '../../../web/verifier/bytes.mjs';
import { json } from '../../../web/verifier/verify.mjs';
const { bodyOf } = await import('../../../rpc/explorer/static/js/bodies.mjs');
const { EXPONENTS } = await import('../../../rpc/explorer/static/js/statements.mjs');
console.log(JSON.stringify(Object.fromEntries(EXPONENTS)));
for (const [kind, schema, body] of BODIES) {
  let said;
  try {
    said = json(bodyOf({ kind: BigInt(kind), schema: BigInt(schema), body: fromHex(body) }));
  } catch (error) { said = `"${error.step}"`; }
  console.log(said);
}
"""


def made(form: Any, random: Random, name: str = "") -> Any:  # Any: a type form, and a value of it
    """Return a value of a type, whatever rules its content would have to keep."""
    origin, parts = get_origin(form), get_args(form)
    if hasattr(form, "__supertype__"):
        return made(form.__supertype__, random, name)
    if hasattr(form, "__metadata__"):
        return made(form.__origin__, random, name)
    if hasattr(form, "__value__"):
        return made(form.__value__, random, name)
    if origin in (Union, UnionType):
        return made(random.choice(parts), random, name)
    if origin in (tuple, list):
        built = [made(parts[0], random, name) for _ in range(random.randrange(3))]
        return tuple(built) if origin is tuple else built
    match form:
        case type() if issubclass(form, Record):
            return form(**{field.name: made(field.type, random, field.name) for field in fields(form)})
        case type() if issubclass(form, Enum):
            return random.choice(list(form))
        case type() if form is NoneType:
            return None
        case type() if form is bool:
            return random.random() < 0.5
    if form is int:
        return random.choice([0, 1, 127, 128, 65_536, 1_790_000_000_123, 2**31])
    if issubclass(form, bytes):
        return form(random.randbytes(random.choice([16, 32, 64])))
    return random.choice(TEXTS)


def bodies() -> Iterator[tuple[int, int, bytes, Any]]:
    random = Random(SEED)
    for kind, spec in KINDS.items():
        for schema, type_ in spec.schemas.items():
            for _ in range(EACH * 4 if "governance" in spec.name else EACH):
                record = statement(random) if kind == PAYMENT_STATEMENT else made(type_, random)
                said = statement_to_json(record) if isinstance(record, PaymentStatement) else record_to_json(record)
                yield kind, schema, encode(record), said


def statement(random: Random) -> PaymentStatement:
    """Return a statement with lengths as its check demands them."""
    clear = random.random() < 0.7
    built: PaymentStatement = made(PaymentStatement, random)
    day = date(2026, 1, 1) + timedelta(days=random.randrange(700))
    changed: dict[str, Any] = {
        "currency": random.choice(["CNY", "JPY", "BHD", "CLF", "XTS", ""]),
        "amount": random.choice([0, 7, 2372, 10**17]) if clear else None,
        "amount_commitment": b"" if clear else random.randbytes(32),
        "settlement_date": random.choice([0, int(day.strftime("%Y%m%d"))]),
        "uetr": random.choice([b"", random.randbytes(16)]),
        "pair_key": random.choice([b"", random.randbytes(32)]),
    }
    return replace(built, **changed)


def test_bodies_of_all_kinds_are_read_as_the_api_gives_them() -> None:
    given = list(bodies())
    asked = [(kind, schema, body.hex()) for kind, schema, body, _ in given]
    # Of a kind or schema that is not known there are the bytes; of what is no such record nothing at all.
    asked += [(200, 1, "9101"), (2, 2, "9101"), (2, 1, "9201a0"), (32, 1, "90"), (80, 1, "9291a36f64640a")]
    lines = run_node("--input-type=module", "-", text=READ.replace("BODIES", json.dumps(asked))).rstrip().split("\n")
    exponents, *read = map(json.loads, lines)
    assert exponents == EXPONENTS
    assert len({kind for kind, *_ in given}) == len(KINDS)
    for (kind, _, _, said), found in zip(given, read, strict=False):
        assert json.dumps(found) == json.dumps(said), kind
    assert read[len(given) :] == [{"raw": "9101"}, {"raw": "9101"}, "body", "body", "body"]
