"""The reference wallet's bytes are the ledger's, and no voucher leaves it before its place is on the disk."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import sys
import time
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from chainnode.vouchers import read_vouchers, read_wallet_request
from ledger.event_json import record_to_json
from ledger.voucher_bodies import (
    AMOUNT_MAX,
    Voucher,
    agreement,
    signed_by_its_wallet,
    voucher_statement,
    wallet_statement,
)
from primitives.encoding import encode
from primitives.keys import verify
from tests.ledger.payment_council import Paying
from tests.ledger.test_voucher_model import tree
from tests.ledger.voucher_fixtures import Device

PROGRAM = Path(__file__).resolve().parents[2] / "samples" / "wallet" / "wallet.py"
CHAIN = bytes([5]) * 32


def loaded() -> ModuleType:
    """Return the program as a module."""
    spec = importlib.util.spec_from_file_location("sample_wallet", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


WALLET = loaded()
VALUES = st.lists(
    st.integers(0, 2**64 - 1) | st.binary(max_size=64) | st.text("abcdefghijklmnopqrstuvwxyz-0123", max_size=31),
    max_size=9,
)


@given(VALUES)
def test_it_packs_as_the_ledger_encodes_and_reads_that_back(values: list[Any]) -> None:
    assert WALLET.packed(values) == encode(values)
    assert WALLET.unpacked(encode(values)) == values


@given(st.integers(1, AMOUNT_MAX), st.integers(0, 4_102_444_800_000), st.integers(0, 99_999))
def test_it_signs_what_the_ledger_verifies(amount: int, issued_at_ms: int, counter: int) -> None:
    made = Voucher(bytes(32), counter, bytes(32), bytes([1]) * 32, amount, "CNY", issued_at_ms, bytes(64))
    assert WALLET.signed_part(CHAIN, record_to_json(made)) == voucher_statement(CHAIN, made)


@pytest.fixture
def home(tmp_path: Path) -> Any:
    """A new wallet's home."""
    made = WALLET.Home(tmp_path / "purse")
    made.folder.mkdir(mode=0o700)
    (tmp_path / "request.json").write_text(json.dumps(WALLET.new(made, CHAIN.hex(), "bank-a", "somebody")))
    return made


def test_its_request_is_one_and_its_vouchers_follow_each_other(home: Any, tmp_path: Path) -> None:
    asked = read_wallet_request((tmp_path / "request.json").read_bytes(), where="request")
    assert verify(asked.key, wallet_statement(CHAIN, "bank-a", asked.key), asked.proof)
    assert (home.file.stat().st_mode & 0o777, home.folder.stat().st_mode & 0o777) == (0o600, 0o700)
    paid = [WALLET.pay(home, "ab" * 32, 100 + turn, "CNY") for turn in range(3)]
    vouchers = read_vouchers("\n".join(map(json.dumps, paid)).encode(), where="paid")
    assert [each.counter for each in vouchers] == [0, 1, 2]
    assert all(signed_by_its_wallet(CHAIN, each) for each in vouchers)
    chain = Device(Paying())
    chain.council.chain_id = CHAIN  # type: ignore[assignment]  # hashes name the chain
    assert [each.previous for each in vouchers[1:]] == [chain.hash(each) for each in vouchers[:2]]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"amount": 1.0}, "a number"),
        ({"counter": True}, "a number"),
        ({"previous": "AB" * 32}, "lower-case"),
        ({"signature": "ab " * 64}, "lower-case"),
        ({"payee_commitment": "ab"}, "another length"),
        ({"issued_at": "2026-01-01T00:00:00+00:00"}, "another way"),
        ({"issued_at": "2026-01-01T00:00:00.000Z"}, "another way"),
        ({"owner": "somebody"}, "not a voucher"),
    ],
)
def test_a_payee_refuses_what_its_bank_would_not_read(home: Any, change: dict[str, Any], why: str) -> None:
    voucher = WALLET.pay(home, "ab" * 32, 1, "CNY")
    WALLET.check_form(voucher)
    with pytest.raises(WALLET.Refused, match=why):
        WALLET.check_form(voucher | change)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "[" * 100_000, '{"key": 1}', "\x00", '{"counter": 1e400}', "null"],
)
def test_a_payee_refuses_what_is_no_voucher_without_a_trace(home: Any, tmp_path: Path, text: str) -> None:
    home.write(home.read())
    file = tmp_path / "bad"
    file.write_text(text)
    trusted = ("--certificate", str(file), "--policy", str(file))
    done = run("receive", str(home.folder), str(file), *trusted)
    assert (done.returncode, done.stderr[:8]) == (3, "REFUSED:"), done.stderr


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the program."""
    command = [sys.executable, str(PROGRAM), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_a_payee_sees_a_double_spending_where_the_ledger_does() -> None:
    council = Paying()
    vouchers = [voucher for name in ("one", "other") for voucher in tree(Device(council, name)).values()]
    shown = [record_to_json(each) for each in vouchers]
    seen = {
        (one, other): WALLET.contradict(council.chain_id, shown[one], shown[other])
        for one in range(len(vouchers))
        for other in range(len(vouchers))
    }
    judged = {pair: not agreement(council.chain_id, *(vouchers[place] for place in pair)) for pair in seen}
    assert seen == judged
    assert 0 < sum(seen.values()) < len(seen)


def test_a_wallet_that_is_killed_again_and_again_while_others_pay_spends_no_counter_twice(home: Any) -> None:
    command = [sys.executable, str(PROGRAM), "pay", str(home.folder), "--to", "ab" * 32, "--amount", "1"]
    paid: list[dict[str, Any]] = []
    for turn in range(8):
        running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
        time.sleep(0.05 + 0.02 * turn)
        running[turn % 3].kill()
        for each in running:
            printed, _ = each.communicate(timeout=60)
            paid += [json.loads(line) for line in printed.splitlines()]
    assert len(paid) >= 16
    assert len({each["counter"] for each in paid}) == len({each["previous"] for each in paid}) == len(paid)
    chain = sorted(paid, key=lambda each: each["counter"])
    assert chain[-1]["counter"] < home.read()["counter"]
    for one, other in pairwise(chain):
        if other["counter"] == one["counter"] + 1:
            assert other["previous"] == hashlib.sha256(WALLET.signed_part(CHAIN, one)).hexdigest()


def test_two_that_make_a_wallet_in_one_place_make_one(tmp_path: Path) -> None:
    words = ["new", str(tmp_path / "purse"), "--chain", CHAIN.hex(), "--bank", "bank-a", "--holder", "x"]
    command = [sys.executable, str(PROGRAM), *words]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    printed = [each.communicate(timeout=60)[0] for each in running]
    assert sorted(each.returncode for each in running) == [0, 3, 3, 3]
    (request,) = filter(None, printed)
    made = WALLET.Home(tmp_path / "purse").read()
    assert json.loads(request)["key"] == bytes(WALLET.SigningKey(bytes.fromhex(made["seed"])).verify_key).hex()


def test_a_wallet_that_dies_before_its_place_is_kept_hands_nothing_out_and_after_it_leaves_one_out(
    home: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Died(Exception):
        """The power went."""

    def dies(*_: object) -> None:
        raise Died

    WALLET.pay(home, "ab" * 32, 1, "CNY")
    before = home.file.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(WALLET.os, "fsync", dies)
        with pytest.raises(Died):
            WALLET.pay(home, "ab" * 32, 2, "CNY")
    assert home.file.read_bytes() == before
    with monkeypatch.context() as patched:
        patched.setattr(WALLET.SigningKey, "sign", dies)
        with pytest.raises(Died):
            WALLET.pay(home, "ab" * 32, 3, "CNY")
    assert WALLET.pay(home, "ab" * 32, 4, "CNY")["counter"] == 2, "what was about to be signed is left out"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"amount": 501}, "at most 500"),
        ({"counter": 10}, "issues 10 vouchers"),
        ({"currency": "EUR"}, "another currency"),
        ({"issued_at": "1970-01-01T00:00:00Z"}, "was not valid"),
        ({"issued_at": "1970-01-01T00:00:09Z"}, "was not valid"),
        ({"issued_at": "1970-01-01T00:00:08Z"}, "too old"),
        ({"key": "00" * 32}, "another wallet"),
        ({}, ""),
    ],
)
def test_a_payee_refuses_what_its_bank_could_not_redeem(change: dict[str, Any], why: str) -> None:
    device = Device(Paying())
    voucher = replace(device.voucher(0), amount=500, issued_at_ms=8_000)
    limits = {"key": device.key.public, "currency": "CNY", "amount_max": 500, "count_max": 10, "age_max_s": 5}
    limits |= {"valid_from_ms": 1_000, "valid_until_ms": 8_500}
    now_ms = 13_000 if why != "too old" else 13_001
    with pytest.raises(WALLET.Refused, match=why) if why else nullcontext():
        WALLET.check_limits(limits, record_to_json(voucher) | change, now_ms)
