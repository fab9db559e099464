"""Key files: private, whole, and never quoted."""

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from chainnode.files import NotFound, UnsafeFile
from chainnode.home import Home
from chainnode.identity import (
    BadKeyFile,
    load_node_keys,
    new_key,
    read_key,
    read_pairs,
    read_token,
    write_key,
    write_pairs,
    write_token,
)
from primitives.errors import UsageError

SEED = bytes(range(32))


def test_key_is_read_as_it_was_written_and_only_by_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "source.key"
    key = new_key("source", member="bank-a", role="gateway", seed=SEED)
    write_key(path, key)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_key(path, "source", "officer") == key
    assert path.read_text().count("\n") == 1


def test_nothing_shows_the_seed(tmp_path: Path) -> None:
    key = new_key("vote", seed=SEED)
    for text in (repr(key), str(key), repr(key.signing_key), f"{key}"):
        assert SEED.hex() not in text


def test_two_new_keys_differ() -> None:
    assert new_key("vote").seed != new_key("vote").seed


def test_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "vote.key"
    write_key(path, new_key("vote"))
    before = path.read_bytes()
    with pytest.raises(UsageError, match="exists already"):
        write_key(path, new_key("vote"))
    assert path.read_bytes() == before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o601])
def test_key_that_others_can_reach_is_refused_with_the_remedy(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "vote.key"
    write_key(path, new_key("vote"))
    path.chmod(mode)
    with pytest.raises(UnsafeFile, match=f"expected mode 0600, got {mode:04o}; chmod 600"):
        read_key(path)


def fields(**changes: object) -> bytes:
    key = new_key("vote", seed=SEED)
    return msgspec.json.encode({**msgspec.to_builtins(key), **changes})


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "not JSON": (lambda: b"-----BEGIN", "not a key file"),
    "empty": (lambda: b"", "not a key file"),
    "a list": (lambda: b"[]", "not a key file"),
    "unknown field": (lambda: fields(colour="red"), "unknown field `colour`"),
    "another type": (lambda: fields(type="rsa"), "not a key file"),
    "another use": (lambda: fields(use="doorbell"), "not a key file"),
    "short seed": (lambda: fields(seed="00"), "not a key file"),
    "upper-case seed": (lambda: fields(seed=SEED.hex().upper()), "not a key file"),
    "public of another key": (lambda: fields(public="ab" * 32), "does not belong"),
    "wrong use": (lambda: fields(use="log"), "a key for another use: expected vote, got log"),
    "not UTF-8": (lambda: b'{"type":"\xff"}', "not a key file"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_key_file_is_refused_without_quoting_the_secret(case: str, tmp_path: Path) -> None:
    content, message = BAD[case]
    path = tmp_path / "vote.key"
    path.write_bytes(content())
    path.chmod(0o600)
    with pytest.raises(BadKeyFile) as caught:
        read_key(path, "vote")
    assert message in str(caught.value)
    assert SEED.hex() not in str(caught.value).lower()


def test_missing_and_special_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_key(tmp_path / "none.key")
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(UnsafeFile, match="plain file"):
        read_key(tmp_path / "pipe")


def test_observer_has_no_votes_and_a_validator_both_keys(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.create()
    write_key(home.log_key, new_key("log"))
    keys = load_node_keys(home)
    assert (keys.vote, keys.cosign, keys.source) == (None, None, None)
    write_key(home.vote_key, new_key("vote"))
    with pytest.raises(BadKeyFile, match="cosign"):
        load_node_keys(home)
    write_key(home.cosign_key, new_key("cosign"))
    assert load_node_keys(home).vote is not None


def test_token_and_pair_secrets_come_back(tmp_path: Path) -> None:
    write_token(tmp_path / "token")
    assert len(read_token(tmp_path / "token")) == 64
    write_pairs(tmp_path / "pairs.json", {"bank-b": SEED})
    assert read_pairs(tmp_path / "pairs.json") == {"bank-b": SEED}
    assert read_pairs(tmp_path / "none.json") == {}
    (tmp_path / "pairs.json").chmod(0o644)
    with pytest.raises(UnsafeFile):
        read_pairs(tmp_path / "pairs.json")


@pytest.mark.parametrize("content", [b"", b"\n", b"a b", b"\xff\xff", b"a\nb"])
def test_bad_token_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(BadKeyFile, match="not a token"):
        read_token(path)
