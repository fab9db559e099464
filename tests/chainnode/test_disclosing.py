"""Disclosure packages: an auditor verifies each value offline, gets what was granted alone, notices every change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace as replaced
from pathlib import Path

import pytest
from msgspec.structs import replace
from nacl.public import PrivateKey, PublicKey, SealedBox
from nacl.secret import SecretBox

from chainnode.disclosing import (
    FIELD_OF,
    OpenedEvent,
    Package,
    SealedPackage,
    open_package,
    read_package,
    seal_package,
)
from chainnode.ingest.agreement import public_of
from chainnode.ingest.privacy import PrivateField
from chainnode.payloads import read_payload
from chainnode.private_store import Erased, PrivateStore
from ledger.disclosure_bodies import PrivateFieldName
from ledger.receipts import verify
from primitives.encoding import decode, encode
from primitives.errors import InputError, ProofError, UsageError
from tests.chainnode.disclosure_fixtures import ALL, AMOUNT, DEBTOR, KEY, SECRET_KEY, SOURCE, Disclosing
from tests.chainnode.ingest.ingest_fixtures import sample


@pytest.fixture(scope="module")
def bank_a(tmp_path_factory: pytest.TempPathFactory) -> Disclosing:
    return Disclosing(tmp_path_factory.mktemp("disclosing") / "private")


def answered(bank_a: Disclosing, *fields: PrivateFieldName, **asked: object) -> bytes:
    """Return the package that answers a request of the auditor's."""
    request = bank_a.ask(**asked)
    return seal_package(bank_a.granted(), fields, KEY, request=request, request_receipt=bank_a.receipt(request))


def resealed(data: bytes, change: Callable[[Package], Package]) -> bytes:
    """Return a package with other content, sealed to the same key as somebody could who knows it."""
    sealed = read_package(data)
    package = decode(Package, SealedBox(PrivateKey(SECRET_KEY)).decrypt(sealed.box), size_max=1 << 26)
    box = SealedBox(PublicKey(KEY)).encrypt(encode(change(package)))
    return encode(SealedPackage(1, sealed.request, sealed.key, box))


def of_first(change: Callable[..., object]) -> Callable[[Package], Package]:
    """Return a change of a package's first event."""
    return lambda package: replace(package, events=(change(package.events[0]), *package.events[1:]))


def of_field(**changes: object) -> Callable[[Package], Package]:
    """Return a change of the first field of the first event."""
    return of_first(lambda event: replace(event, fields=(replace(event.fields[0], **changes), *event.fields[1:])))


def test_every_private_field_has_its_word() -> None:
    assert list(FIELD_OF) == list(PrivateFieldName)
    assert list(FIELD_OF.values()) == list(PrivateField)


def test_an_auditor_opens_what_was_granted_and_verifies_it_offline(bank_a: Disclosing) -> None:
    data = answered(bank_a, AMOUNT, DEBTOR)
    opened = open_package(data, SECRET_KEY, bank_a.council.policy())
    assert opened.request is not None
    assert [bytes(each.verdict.event_id) for each in opened.statements] == bank_a.ids
    with PrivateStore(bank_a.folder) as store:
        kept = [read_payload(store.content(each).payload).values for each in bank_a.ids]
    for statement, values in zip(opened.statements, kept, strict=True):
        assert statement.values == {AMOUNT: values[PrivateField.AMOUNT], DEBTOR: values[PrivateField.DEBTOR_NAME]}
        assert statement.message == b""


def test_nothing_but_what_was_granted_goes_in(bank_a: Disclosing) -> None:
    found: list[Package] = []
    resealed(answered(bank_a, AMOUNT), lambda package: found.append(package) or package)
    inside = encode(found[0])
    with PrivateStore(bank_a.folder) as store:
        for each in bank_a.ids:
            content = store.content(each)
            values = read_payload(content.payload).values
            assert values[PrivateField.AMOUNT] in inside
            for value in values.values():
                assert value == values[PrivateField.AMOUNT] or len(value) < 5 or value not in inside
            assert content.event_key not in inside
            assert content.payload_key not in inside


def test_a_field_that_the_message_did_not_carry_is_shown_to_be_absent(tmp_path: Path) -> None:
    bank_a = Disclosing(tmp_path / "private", "27")
    with PrivateStore(bank_a.folder) as store:
        held = read_payload(store.content(bank_a.ids[0]).payload).values
    absent = next(name for name in ALL if FIELD_OF[name] not in held)
    data = answered(bank_a, absent, fields=(absent,))
    (first, *_) = open_package(data, SECRET_KEY, bank_a.council.policy()).statements
    assert first.values == {absent: None}
    with pytest.raises(ProofError, match=f"{absent} is not what"):
        open_package(resealed(data, of_field(value=b"")), SECRET_KEY, bank_a.council.policy())


def test_the_whole_payload_comes_with_its_message_where_that_is_of_one_payment(bank_a: Disclosing) -> None:
    request = bank_a.ask(fields=ALL, payload=True)
    receipt = bank_a.receipt(request)
    data = seal_package(bank_a.granted(), ALL, KEY, payload=True, request=request, request_receipt=receipt)
    opened = open_package(data, SECRET_KEY, bank_a.council.policy())
    message = opened.statements[0].message
    assert message.startswith(b"<Document")
    assert message in sample("01")
    for statement in opened.statements:
        assert set(statement.values) == set(ALL)
    for change in (
        lambda event: replace(event, payload=event.payload[:-1] + b"\0"),
        lambda event: replace(event, payload_key=bytes(32)),
        lambda event: replace(event, message=b"<another/>"),
    ):
        with pytest.raises(ProofError, match=r"payload|message"):
            open_package(resealed(data, of_first(change)), SECRET_KEY, bank_a.council.policy())


def test_a_payload_of_another_payment_is_refused(bank_a: Disclosing) -> None:
    request = bank_a.ask(fields=ALL, payload=True)
    receipt = bank_a.receipt(request)
    data = seal_package(bank_a.granted(), ALL, KEY, payload=True, request=request, request_receipt=receipt)

    def exchanged(package: Package) -> Package:
        one, two = package.events
        return replace(package, events=(replace(one, payload=two.payload, payload_key=two.payload_key), two))

    with pytest.raises(ProofError, match="says otherwise"):
        open_package(resealed(data, exchanged), SECRET_KEY, bank_a.council.policy())


def test_a_message_is_refused_where_its_digest_is_not_opened(bank_a: Disclosing) -> None:
    request = bank_a.ask(fields=ALL, payload=True)
    receipt = bank_a.receipt(request)
    data = seal_package(bank_a.granted(), ALL, KEY, payload=True, request=request, request_receipt=receipt)

    def without_digest(event: OpenedEvent) -> OpenedEvent:
        payload = read_payload(SecretBox(event.payload_key).decrypt(event.payload))
        fields = tuple(each for each in payload.fields if each.field is not PrivateField.SOURCE)
        sealed = bytes(SecretBox(event.payload_key).encrypt(encode(replace(payload, fields=fields))))
        return replace(event, fields=event.fields[:-1], payload=sealed)

    with pytest.raises(ProofError, match="the message is not the one"):
        open_package(resealed(data, of_first(without_digest)), SECRET_KEY, bank_a.council.policy())


def test_a_message_of_several_payments_is_not_given_away(bank_a: Disclosing) -> None:
    (granted, *_) = bank_a.granted()
    several = [replaced(granted, content=replaced(granted.content, message_events=2))]
    request = bank_a.ask(fields=ALL, payload=True)
    receipt = bank_a.receipt(request)
    data = seal_package(several, ALL, KEY, payload=True, request=request, request_receipt=receipt)
    assert open_package(data, SECRET_KEY, bank_a.council.policy()).statements[0].message == b""


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (of_field(value=b"CNY 0.01"), "amount is not what the event committed to"),
        (of_field(value=None), "amount is not what the event committed to"),
        (of_field(salt=bytes(32)), "amount is not what the event committed to"),
        (of_field(path=()), "amount is not what the event committed to"),
        (of_field(field=PrivateFieldName.REFERENCE), "more than was asked for"),
        (
            of_first(lambda event: replace(event, receipt=event.receipt.replace("index ", "index 1", 1))),
            r"index|hash|root",
        ),
        (lambda package: replace(package, events=package.events[:1] * 2), "twice"),
        (lambda package: replace(package, request=b"x" * 32), "another request"),
        (lambda package: replace(package, request_receipt=package.events[0].receipt), "does not prove its request"),
        (of_first(lambda event: replace(event, fields=event.fields[::-1])), "out of order"),
    ],
)
def test_what_does_not_match_is_refused(bank_a: Disclosing, change: Callable[[Package], Package], match: str) -> None:
    data = resealed(answered(bank_a, AMOUNT, DEBTOR), change)
    with pytest.raises(InputError, match=match):
        open_package(data, SECRET_KEY, bank_a.council.policy())


def test_values_of_one_event_do_not_pass_for_another(bank_a: Disclosing) -> None:
    def exchanged(package: Package) -> Package:
        one, two = package.events
        return replace(package, events=(replace(one, fields=two.fields), two))

    with pytest.raises(ProofError, match="not what the event committed to"):
        open_package(resealed(answered(bank_a, AMOUNT), exchanged), SECRET_KEY, bank_a.council.policy())


def test_an_answer_is_held_against_its_request(bank_a: Disclosing) -> None:
    only_first = bank_a.ask(events=(bank_a.ids[0],))
    receipt, policy = bank_a.receipt(only_first), bank_a.council.policy()
    data = seal_package(bank_a.granted(), (AMOUNT,), KEY, request=only_first, request_receipt=receipt)
    with pytest.raises(ProofError, match="an event that was not asked for"):
        open_package(data, SECRET_KEY, policy)
    data = seal_package(bank_a.granted(bank_a.ids[0]), (SOURCE,), KEY, request=only_first, request_receipt=receipt)
    with pytest.raises(ProofError, match="more than was asked for"):
        open_package(data, SECRET_KEY, policy)
    to_another = bank_a.ask(key=public_of(b"k" * 32))
    receipt = bank_a.receipt(to_another)
    data = seal_package(bank_a.granted(), (AMOUNT,), KEY, request=to_another, request_receipt=receipt)
    with pytest.raises(ProofError, match="another key than the request's"):
        open_package(data, SECRET_KEY, policy)


def test_a_package_without_a_request_opens_too(bank_a: Disclosing) -> None:
    opened = open_package(seal_package(bank_a.granted(), (AMOUNT,), KEY), SECRET_KEY, bank_a.council.policy())
    assert opened.request is None
    assert len(opened.statements) == len(bank_a.ids)


def test_only_the_key_that_it_is_sealed_to_opens_it(bank_a: Disclosing) -> None:
    data = answered(bank_a, AMOUNT)
    with pytest.raises(UsageError, match="sealed to another key"):
        open_package(data, b"k" * 32, bank_a.council.policy())
    sealed = read_package(data)
    bent = encode(replace(sealed, box=sealed.box[:-1] + bytes([sealed.box[-1] ^ 1])))
    with pytest.raises(ProofError, match="does not open"):
        open_package(bent, SECRET_KEY, bank_a.council.policy())
    with pytest.raises(InputError):
        open_package(data[:-1], SECRET_KEY, bank_a.council.policy())
    with pytest.raises(InputError, match="low order"):
        seal_package(bank_a.granted(), (AMOUNT,), bytes(32))
    with pytest.raises(UsageError, match="every field"):
        seal_package(bank_a.granted(), (AMOUNT,), KEY, payload=True)


def test_after_an_erasure_proofs_hold_and_disclosure_is_refused_by_name(tmp_path: Path) -> None:
    bank_a = Disclosing(tmp_path / "private")
    erased, kept = bank_a.ids
    with PrivateStore(bank_a.folder) as store:
        store.erase([erased], 1)
    with pytest.raises(Erased, match="was erased here"):
        bank_a.granted(erased)
    assert verify(bank_a.receipt(erased), bank_a.council.policy()).applied
    data = seal_package(bank_a.granted(kept), (AMOUNT,), KEY)
    assert open_package(data, SECRET_KEY, bank_a.council.policy()).statements[0].values[AMOUNT]
