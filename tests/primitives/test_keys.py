"""Ed25519 against published vectors, and against the keys and signatures on which verifiers disagree."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl import bindings

from primitives.errors import SignatureError
from primitives.keys import PUBLIC_KEY_BYTES, SEED_BYTES, SIGNATURE_BYTES, SigningKey, check_public_key, verify

VECTORS = json.loads((Path(__file__).parent / "data" / "ed25519_rfc8032.json").read_text())["vectors"]
FIELD = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493  # of the prime-order subgroup
CURVE_D = -121665 * pow(121666, -1, FIELD) % FIELD
ROOT_OF_MINUS_ONE = pow(2, (FIELD - 1) // 4, FIELD)


def point(y: int, sign: int = 0) -> bytes:
    """Return the 32 bytes of a y coordinate and the sign of x."""
    return (y | sign << 255).to_bytes(32, "little")


def y_of_order_8() -> int:
    """Return the y coordinate of a point of order 8."""
    # Its double has y = 0. On -x^2 + y^2 = 1 + d x^2 y^2 the double's y is a multiple of y^2 + x^2, so x^2 = -y^2;
    # put into the curve: d y^4 + 2 y^2 - 1 = 0, a quadratic in y^2.
    for root in (square_root(1 + CURVE_D), -(square_root(1 + CURVE_D) or 0)):
        y = square_root((-1 + (root or 0)) * pow(CURVE_D, -1, FIELD))
        if y is not None:
            return y
    raise AssertionError("the curve has points of order 8")


def square_root(value: int) -> int | None:
    candidate = pow(value % FIELD, (FIELD + 3) // 8, FIELD)
    for root in (candidate, candidate * ROOT_OF_MINUS_ONE % FIELD):
        if root * root % FIELD == value % FIELD:
            return root
    return None


Y8 = y_of_order_8()
TORSION = {
    "identity": point(1),
    "order 2": point(FIELD - 1),
    "order 4": point(0),
    "order 4, other": point(0, 1),
    "order 8": point(Y8),
    "order 8, other sign": point(Y8, 1),
    "order 8, other y": point(FIELD - Y8),
    "order 8, other y and sign": point(FIELD - Y8, 1),
}
NOT_CANONICAL = {
    "identity with a sign": point(1, 1),
    "order 2 with a sign": point(FIELD - 1, 1),
    "0 as p": point(FIELD),
    "0 as p with a sign": point(FIELD, 1),
    "1 as p + 1": point(FIELD + 1),
    "1 as p + 1 with a sign": point(FIELD + 1, 1),
    "all ones": b"\xff" * 32,
    "p + 3": point(FIELD + 3),
}
KEY = SigningKey(bytes(range(32)))


@pytest.mark.parametrize("vector", VECTORS, ids=["1", "2", "3"])
def test_published_vectors_are_signed_and_verified(vector: dict[str, str]) -> None:
    seed, public, message, signature = (
        bytes.fromhex(vector[name]) for name in ("seed", "public", "message", "signature")
    )
    key = SigningKey.generate(seed)
    assert key.public == public
    assert key.sign(message) == signature
    assert verify(public, message, signature)
    check_public_key(public)


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200))
def test_what_a_key_signs_verifies_under_it_alone(seed: bytes, message: bytes) -> None:
    key = SigningKey(seed)
    signature = key.sign(message)
    assert (len(signature), len(key.public)) == (SIGNATURE_BYTES, PUBLIC_KEY_BYTES)
    assert key.sign(message) == signature
    assert verify(key.public, message, signature)
    assert not verify(key.public, message + b"\0", signature)
    assert not verify(SigningKey(hashlib.sha256(seed).digest()).public, message, signature)


def test_every_changed_bit_of_signature_key_or_message_is_refused() -> None:
    message = b"vote"
    signature = KEY.sign(message)

    def flips(data: bytes) -> list[bytes]:
        return [
            bytes(byte ^ (1 << bit) if place == at else byte for place, byte in enumerate(data))
            for at in range(len(data))
            for bit in range(8)
        ]

    assert not any(verify(KEY.public, message, changed) for changed in flips(signature))
    assert not any(verify(changed, message, signature) for changed in flips(KEY.public))
    assert not any(verify(KEY.public, changed, signature) for changed in flips(message))


@given(st.binary(max_size=70), st.binary(max_size=10), st.binary(max_size=70))
def test_verifying_rubbish_says_no_and_never_raises(public: bytes, message: bytes, signature: bytes) -> None:
    assert verify(public, message, signature) is False


@pytest.mark.parametrize("length", [0, 31, 33, 63, 65, 96])
def test_wrong_length_of_key_or_signature_is_refused(length: int) -> None:
    signature = KEY.sign(b"m")
    assert not verify((KEY.public * 4)[:length], b"m", signature)
    assert not verify(KEY.public, b"m", (signature * 2)[:length])
    with pytest.raises(SignatureError, match=f"expected 32, got {length}"):
        check_public_key(bytes(length))


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_seed_of_wrong_length_is_refused_without_showing_it(length: int) -> None:
    with pytest.raises(SignatureError, match=f"expected {SEED_BYTES}, got {length}") as caught:
        SigningKey(b"\xa5" * length)
    assert "a5a5" not in str(caught.value)


def test_no_rendering_of_a_signing_key_shows_its_seed() -> None:
    seed = hashlib.sha256(b"secret").digest()
    key = SigningKey(seed)
    for text in (repr(key), str(key), f"{key}", repr([key]), repr({"key": key})):
        assert key.public.hex() in text
        assert seed.hex() not in text
        assert repr(seed)[2:-1] not in text


def test_small_points_of_this_table_are_the_whole_torsion_group() -> None:
    assert len(set(TORSION.values())) == 8
    # libsodium's addition closes over them: a wrong constant here would leave the set or the curve.
    for one in TORSION.values():
        for two in TORSION.values():
            assert bindings.crypto_core_ed25519_add(one, two) in TORSION.values()


@pytest.mark.parametrize("name", TORSION)
def test_small_order_key_is_refused(name: str) -> None:
    with pytest.raises(SignatureError, match="prime-order"):
        check_public_key(TORSION[name])


@pytest.mark.parametrize("name", NOT_CANONICAL)
def test_key_with_a_second_spelling_is_refused(name: str) -> None:
    with pytest.raises(SignatureError, match="canonical"):
        check_public_key(NOT_CANONICAL[name])


@pytest.mark.parametrize("name", [name for name in TORSION if name != "identity"])
def test_mixed_order_key_is_refused(name: str) -> None:
    # Order 2 is the case that libsodium missed before CVE-2025-69277 was fixed (PyNaCl 1.6.2).
    mixed = bindings.crypto_core_ed25519_add(KEY.public, TORSION[name])
    assert mixed != KEY.public
    with pytest.raises(SignatureError, match="prime-order"):
        check_public_key(mixed)


def test_bytes_that_are_no_point_are_refused_as_a_key() -> None:
    off_the_curve = [y for y in range(2, 60) if square_root((y * y - 1) * pow(CURVE_D * y * y + 1, -1, FIELD)) is None]
    assert len(off_the_curve) > 20
    for y in off_the_curve:
        for sign in (0, 1):
            with pytest.raises(SignatureError, match="canonical"):
                check_public_key(point(y, sign))


@pytest.mark.parametrize("key", [*TORSION, *NOT_CANONICAL])
@pytest.mark.parametrize("nonce", TORSION)
def test_degenerate_signature_that_holds_for_every_message_is_refused(key: str, nonce: str) -> None:
    public = {**TORSION, **NOT_CANONICAL}[key]
    for message in (b"", b"m", b"another"):
        assert not verify(public, message, TORSION[nonce] + bytes(32))


def signed_with(nonce_torsion: bytes, public: bytes, message: bytes) -> bytes:
    """Return KEY's signature with a torsion point added to R: valid only for a verifier that clears the cofactor."""
    secret = int.from_bytes(hashlib.sha512(bytes(range(32))).digest()[:32], "little")
    secret = secret & ~7 & ~(1 << 255) | 1 << 254
    nonce = 12345
    base = bindings.crypto_scalarmult_ed25519_base_noclamp(nonce.to_bytes(32, "little"))
    commitment = bindings.crypto_core_ed25519_add(base, nonce_torsion)
    challenge = int.from_bytes(hashlib.sha512(commitment + public + message).digest(), "little") % ORDER
    return commitment + ((nonce + challenge * (secret % ORDER)) % ORDER).to_bytes(32, "little")


def test_the_one_verifier_is_strict_about_torsion_in_a_signature() -> None:
    # Whether this holds differs among verifiers; were it to change here, nodes of two releases could disagree.
    verdicts = {name: verify(KEY.public, b"m", signed_with(TORSION[name], KEY.public, b"m")) for name in TORSION}
    assert verdicts == {name: name == "identity" for name in TORSION}


def test_signature_with_a_scalar_above_the_order_is_refused() -> None:
    signature = KEY.sign(b"m")
    scalar = int.from_bytes(signature[32:], "little")
    for multiple in range(1, 15):
        other = signature[:32] + (scalar + multiple * ORDER).to_bytes(32, "little")
        assert not verify(KEY.public, b"m", other)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="asks the kernel which libraries are loaded")
def test_the_one_verifier_is_the_library_that_pynacl_brings() -> None:
    loaded = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "/" in line}
    sodium = {Path(path).name for path in loaded if "sodium" in path}
    assert not {name for name in sodium if name.startswith("libsodium")}  # what that one takes may change any day
    assert len({name for name in sodium if name.startswith("_sodium")}) == 1


def test_a_byte_cannot_move_from_the_message_to_the_signature() -> None:
    signature = KEY.sign(b"message")
    assert not verify(KEY.public, b"essage", signature + b"m")
    assert not verify(KEY.public, signature[63:] + b"message", signature[:63])


def test_another_thread_runs_while_a_signature_is_verified() -> None:
    """libsodium works without the interpreter's lock: the lock changes hands though nobody has to give it up."""
    key = SigningKey(bytes(32))
    message = bytes(200)
    signature = key.sign(message)
    turns: list[int] = []

    both = threading.Barrier(2)

    def verify_many(mine: int) -> None:
        both.wait()
        for _ in range(1_000):
            verify(key.public, message, signature)
            turns.append(mine)

    interval_s = sys.getswitchinterval()
    threads = [threading.Thread(target=verify_many, args=(number,)) for number in range(2)]
    try:
        sys.setswitchinterval(60)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval_s)
    assert sum(one != other for one, other in pairwise(turns)) > 1, "each did all of its own in one go"
