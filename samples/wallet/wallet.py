#!/usr/bin/env python3
"""A reference wallet: pays and receives offline vouchers of a chainnode ledger. Needs PyNaCl, and none of the node.

    python wallet.py new HOME --chain ID --bank BANK --holder TEXT    make a wallet; print what its bank registers
    python wallet.py address HOME                                     print a commitment for somebody to pay to
    python wallet.py pay HOME --to COMMITMENT --amount UNITS          print a voucher
    python wallet.py receive HOME VOUCHER --certificate RECEIPT --policy POLICY
    python wallet.py vouchers HOME                                    print what was received, for the payee's bank

A voucher is handed out only after its counter and hash are on the disk, so that a wallet that dies in between leaves
one out and never signs two of one place; one that is restored from a copy does, and is accused of it. Amounts are in
minor units. A payee without a connection checks the payer's certificate, which is the receipt of the wallet's
registration (`chainnode prove`), against a policy that it trusts, the limits in it, the signature, that the voucher is
paid to it, and that it holds none that contradicts it.
Formats: docs/formats.md, "Offline vouchers". Exit status: 0 done, 3 refused, 2 wrong usage.
"""

import argparse
import fcntl
import hashlib
import importlib.util
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nacl.bindings import crypto_core_ed25519_is_valid_point
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

VERIFIER = Path(__file__).resolve().parents[2] / "verifier" / "verify_receipt.py"
DOMAIN, NO_VOUCHER, REGISTER, SCHEMA = b"chainnode/v1/", bytes(32), 38, 1
FIELDS = ("key", "counter", "previous", "payee_commitment", "amount", "currency", "issued_at")
LIMITS = ("key", "currency", "amount_max", "count_max", "age_max_s", "valid_from_ms", "valid_until_ms")
CLOCK_AHEAD_MS, AMOUNT_MAX, FILE_MAX = 300_000, 10**12, 1 << 20


class Refused(Exception):
    """What the wallet does not do, and why."""


def need(condition: object, why: str) -> None:
    """Refuse unless the condition holds."""
    if not condition:
        raise Refused(why)


# --- bytes: canonical MessagePack of arrays of bytes, text and numbers that are not negative


def packed(value: Any) -> bytes:
    """Return the one byte form of a value."""
    if isinstance(value, list):
        return bytes([0x90 | len(value)]) + b"".join(map(packed, value))
    if isinstance(value, bytes):
        return b"\xc4" + bytes([len(value)]) + value
    if isinstance(value, str):
        data = value.encode()
        return (bytes([0xA0 | len(data)]) if len(data) < 32 else b"\xd9" + bytes([len(data)])) + data
    if value < 128:
        return bytes([value])
    size = next(size for size in (1, 2, 4, 8) if value < 1 << 8 * size)
    return bytes([0xCC + size.bit_length() - 1]) + int(value).to_bytes(size, "big")


def unpacked(data: bytes) -> list[Any]:
    """Return the values of an array of bytes, short text and numbers; only what packs to the same bytes is taken."""
    values, at = [], 1
    while at < len(data):
        first, at = data[at], at + 1
        if first < 128:
            values.append(first)
        elif 0xCC <= first <= 0xCF:
            size = 1 << first - 0xCC
            values.append(int.from_bytes(data[at : at + size], "big"))
            at += size
        elif first == 0xC4:
            size = data[at]
            values.append(data[at + 1 : at + 1 + size])
            at += 1 + size
        else:
            need(first & 0xE0 == 0xA0, "the certificate has another form")
            size = first & 31
            values.append(data[at : at + size].decode())
            at += size
    need(packed(values) == data, "the certificate has another form")
    return values


def signed_part(chain: bytes, voucher: dict[str, Any]) -> bytes:
    """Return what a voucher's signature covers and its hash is taken of."""
    key, previous, payee = (bytes.fromhex(voucher[name]) for name in ("key", "previous", "payee_commitment"))
    issued = time_ms(voucher["issued_at"])
    content = [chain, key, voucher["counter"], previous, payee, voucher["amount"], voucher["currency"], issued]
    return DOMAIN + b"voucher\0" + packed(content)


def time_text(ms: int) -> str:
    """Return milliseconds since 1970 as RFC 3339 UTC."""
    whole = datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{ms % 1000:03d}Z" if ms % 1000 else f"{whole}Z"


def check_form(voucher: dict[str, Any]) -> None:
    """Refuse a voucher that is not written as banks read it, though it may mean the same."""
    need(set(voucher) == {*FIELDS, "signature"}, "not a voucher")
    for name, size in (("key", 32), ("previous", 32), ("payee_commitment", 32), ("signature", 64)):
        need(len(bytes.fromhex(voucher[name])) == size, f"{name} is of another length")
        need(bytes.fromhex(voucher[name]).hex() == voucher[name], f"{name} is not lower-case hex")
    need(type(voucher["counter"]) is int and type(voucher["amount"]) is int, "a number is written another way")
    need(time_text(time_ms(voucher["issued_at"])) == voucher["issued_at"], "its time is written another way")


def time_ms(text: str) -> int:
    """Return the milliseconds of a time in UTC."""
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return int(moment.timestamp()) * 1000 + moment.microsecond // 1000


# --- what is on the disk


class Home:
    """A wallet's directory: its secret, where its chain stands, what it can be paid to, what it received."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file = folder, folder / "wallet.json"

    def read(self) -> dict[str, Any]:
        """Return all of it."""
        need(self.file.exists(), f"no wallet in {self.folder}")
        found: dict[str, Any] = json.loads(self.file.read_text())
        return found

    def write(self, state: dict[str, Any]) -> None:
        """Replace it as a whole; on return it is on the disk."""
        fresh = self.file.with_suffix(".new")
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "w") as file:
            json.dump(state, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.file)
        folder = os.open(self.folder, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep every other process out of the wallet."""
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


# --- commands


def new(home: Home, chain: str, bank: str, holder: str) -> dict[str, Any]:
    """Make a wallet, and return what its bank registers."""
    need(not home.file.exists(), f"there is a wallet in {home.folder}")
    need(len(bytes.fromhex(chain)) == 32, "a chain's id is 64 hex digits")
    key, salt = SigningKey.generate(), os.urandom(32)
    public = bytes(key.verify_key)
    state = {"seed": bytes(key).hex(), "chain": chain, "bank": bank, "holder": holder, "holder_salt": salt.hex()}
    home.write(state | {"counter": 0, "previous": NO_VOUCHER.hex(), "addresses": {}, "received": []})
    proof = key.sign(DOMAIN + b"wallet-key\0" + packed([bytes.fromhex(chain), bank, public])).signature
    hidden = hashlib.sha256(salt + holder.encode()).hexdigest()
    return {"key": public.hex(), "holder_commitment": hidden, "proof": proof.hex()}


def address(home: Home) -> str:
    """Return a fresh commitment to pay to; the salt behind it stays here, so that nobody links two payments."""
    state = home.read()
    salt = os.urandom(32)
    made = hashlib.sha256(salt + state["holder"].encode()).hexdigest()
    state["addresses"][made] = salt.hex()
    home.write(state)
    return made


def pay(home: Home, to: str, amount: int, currency: str) -> dict[str, Any]:
    """Return a signed voucher; that its place is taken is on the disk before anybody sees it."""
    state = home.read()
    need(1 <= amount <= AMOUNT_MAX, "an amount is 1 to 10^12 minor units")
    need(len(to) == 64 and bytes.fromhex(to).hex() == to, "a commitment is 64 lower-case hex digits")
    key = SigningKey(bytes.fromhex(state["seed"]))
    voucher: dict[str, Any] = {
        "key": bytes(key.verify_key).hex(),
        "counter": state["counter"],
        "previous": state["previous"],
        "payee_commitment": to,
        "amount": amount,
        "currency": currency,
        "issued_at": time_text(time.time_ns() // 1_000_000),
    }
    signed = signed_part(bytes.fromhex(state["chain"]), voucher)
    home.write(state | {"counter": state["counter"] + 1, "previous": hashlib.sha256(signed).hexdigest()})
    return voucher | {"signature": key.sign(signed).signature.hex()}


def receive(home: Home, voucher: dict[str, Any], receipt: str, policy: str) -> dict[str, Any]:
    """Check a voucher without a connection and keep it; return it."""
    state = home.read()
    chain = bytes.fromhex(state["chain"])
    check_form(voucher)
    limits = certified(receipt, policy, chain)
    check_limits(limits, voucher, time.time_ns() // 1_000_000)
    need(voucher["payee_commitment"] in state["addresses"], "the voucher is paid to somebody else")
    need((voucher["counter"] == 0) == (voucher["previous"] == NO_VOUCHER.hex()), "at a wrong place of its chain")
    signed, mine = signed_part(chain, voucher), bytes.fromhex(voucher["signature"])
    try:
        VerifyKey(limits["key"]).verify(signed, mine)
    except BadSignatureError:
        raise Refused("the signature is not the payer's") from None
    for held in state["received"]:
        need(signed_part(chain, held) != signed, "the voucher is here already")
        need(not contradict(chain, held, voucher), "the payer spent twice")
    home.write(state | {"received": [*state["received"], voucher]})
    return voucher


def contradict(chain: bytes, one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Say whether no honest wallet signs both: of one place, or beside each other and the later names another."""
    first, second = sorted((one, other), key=lambda voucher: int(voucher["counter"]))
    if first["key"] != second["key"] or signed_part(chain, first) == signed_part(chain, second):
        return False
    if first["counter"] == second["counter"] or first["previous"] == second["previous"]:
        return True
    beside = first["counter"] + 1 == second["counter"]
    return beside and bytes.fromhex(second["previous"]) != hashlib.sha256(signed_part(chain, first)).digest()


def certified(receipt: str, policy: str, chain: bytes) -> dict[str, Any]:
    """Return the limits in a wallet's certificate: the receipt of its registration, which the policy's log holds."""
    spec = importlib.util.spec_from_file_location("verify_receipt", VERIFIER)
    assert spec is not None
    assert spec.loader is not None
    verifier = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(verifier)
    try:
        said = verifier.verify_receipt(receipt, verifier.Policy(policy))
    except verifier.Refused as refused:
        raise Refused(f"the certificate does not hold: {refused.args[0]}: {refused.args[1]}") from None
    need((said["kind"], said["schema"], said["applied"]) == (REGISTER, SCHEMA, True), "it registers no wallet")
    need(said["chain_id"] == chain, "the certificate is of another chain")
    limits = dict(zip(LIMITS, unpacked(said["body"]), strict=False))
    need(crypto_core_ed25519_is_valid_point(limits["key"]), "the certificate's key is none")
    return limits


def check_limits(limits: dict[str, Any], voucher: dict[str, Any], now_ms: int) -> None:
    """Refuse a voucher that the payee's bank could not redeem, as far as one can tell without it."""
    issued = time_ms(voucher["issued_at"])
    need(voucher["key"] == limits["key"].hex(), "the certificate is of another wallet")
    need(voucher["currency"] == limits["currency"], "the wallet pays in another currency")
    need(1 <= voucher["amount"] <= limits["amount_max"], f"a voucher is of at most {limits['amount_max']}")
    need(0 <= voucher["counter"] < limits["count_max"], f"the wallet issues {limits['count_max']} vouchers")
    need(limits["valid_from_ms"] <= issued <= limits["valid_until_ms"], "issued when the wallet was not valid")
    need(issued <= now_ms + CLOCK_AHEAD_MS, "issued in the future")
    need(now_ms <= issued + 1000 * limits["age_max_s"], "too old to be redeemed")


def text_of(path: Path) -> str:
    """Return a file's text, of bounded size."""
    need(path.stat().st_size <= FILE_MAX, f"{path} is too large")
    return path.read_text("utf-8")


def main() -> int:
    """Run one command."""
    parser = argparse.ArgumentParser(description="A reference wallet for offline vouchers.")
    commands = parser.add_subparsers(dest="command", required=True)
    made = {name: commands.add_parser(name) for name in ("new", "address", "pay", "receive", "vouchers")}
    for each in made.values():
        each.add_argument("home", type=Path)
    for name in ("--chain", "--bank", "--holder"):
        made["new"].add_argument(name, required=True)
    made["pay"].add_argument("--to", required=True)
    made["pay"].add_argument("--amount", required=True, type=int)
    made["pay"].add_argument("--currency", default="CNY")
    made["receive"].add_argument("voucher", type=Path)
    for name in ("--certificate", "--policy"):
        made["receive"].add_argument(name, required=True, type=Path)
    asked = parser.parse_args()
    home = Home(asked.home)
    try:
        if asked.command == "new":
            home.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with home.held():
                print(json.dumps(new(home, asked.chain, asked.bank, asked.holder)))
            return 0
        need(home.file.exists(), f"no wallet in {home.folder}")
        with home.held():
            if asked.command == "address":
                print(address(home))
            elif asked.command == "pay":
                print(json.dumps(pay(home, asked.to, asked.amount, asked.currency)))
            elif asked.command == "receive":
                voucher = json.loads(text_of(asked.voucher))
                taken = receive(home, voucher, text_of(asked.certificate), text_of(asked.policy))
                print(f"taken: {taken['amount']} {taken['currency']} of wallet {taken['key'][:16]}")
            else:
                for voucher in home.read()["received"]:
                    print(json.dumps(voucher))
    except (Refused, ArithmeticError, LookupError, RecursionError, TypeError, ValueError, OSError) as error:
        print(f"REFUSED: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
