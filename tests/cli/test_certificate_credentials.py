"""Certificates as W3C credentials: held against the recommendations' own rules, and verified by PyJWT.

Sources: Verifiable Credentials Data Model 2.0, Securing Verifiable Credentials using JOSE and COSE, Bitstring Status
List 1.0, the did:key method.
"""

from __future__ import annotations

import base64
import gzip
import json
import random
from pathlib import Path
from typing import Any

import jwt
import pytest

from chainnode.cli.exits import Exit
from chainnode.cli.main import run
from chainnode.client import NodeClient
from chainnode.identity import new_key, write_key
from chainnode.interop.credentials import BITS_MIN, encoded_list
from ledger.status_proofs import certificate_status, verify_status
from ledger.times import format_time, parse_time
from primitives.keys import SigningKey
from tests.cli.test_offline_status import HOUR_MS, chain_of, proof_of
from tests.cli.test_with_a_node import STATUS, Node, address, home, node
from tests.ledger.certificate_fixtures import NUMBER, PRODUCT, State

__all__ = ["address", "home", "node"]

SEED = b"\x07" * 32
PUBLIC = SigningKey.generate(SEED).public
URLS = {"revocation": "https://cb.example/lists/1", "suspension": "https://cb.example/lists/2"}
LISTS = ["--revocation-list", URLS["revocation"], "--suspension-list", URLS["suspension"]]
OTHER, LATER = "FTP-2026-01-000001", "FTP-2026-11-000001"
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def grant_row(number: str, applied: bool = True, kind: str = "certificate.grant") -> dict[str, Any]:
    return {"kind": kind, "outcome": {"applied": applied}, "body": {"number": number}}


@pytest.fixture
def at(node: Node, home: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the beginning of a command to a node where `cb` granted OTHER before and LATER after NUMBER."""
    source = {"key": PUBLIC.hex(), "roles": ["certification_body"], "removed": False}
    member = {"id": "cb", "roles": ["certification_body"], "excluded": False, "sources": [source]}
    pages = [
        [grant_row(LATER, applied=False), grant_row(OTHER), grant_row(OTHER, kind="certificate.suspend")],
        [grant_row(NUMBER), grant_row(LATER)],
    ]

    def events(params: dict[str, Any]) -> dict[str, Any]:
        assert (params["member"], params["order"]) == ("cb", "asc")
        second = params.get("cursor") == "next"
        return {"events": pages[second], "cursor": None if second else "next", "above_height": 0}

    statuses = {"revoked": [OTHER], "cancelled": [LATER, "FTP-2026-09-000009"], "suspended": [NUMBER]}
    node.answers |= {
        "gov_listMembers": lambda _: {"members": [member], "cursor": None},
        "ledger_getMemberEvents": events,
        "cert_list": lambda params: {
            "certificates": [{"number": number} for number in statuses[params["status"]]],
            "cursor": None,
        },
    }
    serve(node, monkeypatch, State.ACTIVE)
    write_key(Path("cb.key"), new_key("source", member="cb", role="certification_body", seed=SEED))
    return ["--home", str(home), "--as", "cb.key", "-o", "json", "cert"]


def serve(node: Node, monkeypatch: pytest.MonkeyPatch, state: State) -> None:
    chain = chain_of(state)
    monkeypatch.setattr(NodeClient, "get", lambda self, path: chain.policy().encode())
    node.answers["cert_getStatus"] = lambda _: {"number": NUMBER, "exists": True, "proof": proof_of(chain)}


def jwk_of(at: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert run([*at, "credential-key"]) == Exit.OK
    row: dict[str, Any] = json.loads(capsys.readouterr().out)
    return row


def verified(file: str, key: dict[str, Any]) -> dict[str, Any]:
    """Return what a JWT says, by PyJWT and the key alone, and hold it against what all credentials must have."""
    token = Path(file).read_text()
    head = jwt.get_unverified_header(token)
    assert head == {"alg": "EdDSA", "typ": "vc+jwt", "cty": "vc", "kid": key["kid"]}
    said: dict[str, Any] = jwt.decode(token, jwt.PyJWK(key["jwk"]), algorithms=["EdDSA"])
    assert said["@context"][0] == "https://www.w3.org/ns/credentials/v2"
    assert said["type"][0] == "VerifiableCredential"
    assert not {"vc", "exp", "nbf", "proof"} & said.keys(), "the payload is the credential itself"
    issuer = said["issuer"] if isinstance(said["issuer"], str) else said["issuer"]["id"]
    assert issuer == key["did"] == key["kid"].partition("#")[0]
    assert parse_time(said["validFrom"]) < parse_time(said["validUntil"])
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(token[:-8] + "AAAAAAAA", jwt.PyJWK(key["jwk"]), algorithms=["EdDSA"])
    return said


def bit(encoded: str, place: int) -> int:
    """Return a list's bit as the recommendation expands it: multibase, base64url, GZIP, highest bit first."""
    assert encoded[0] == "u"
    assert "=" not in encoded
    data = gzip.decompress(base64.urlsafe_b64decode(encoded[1:] + "=" * (-len(encoded[1:]) % 4)))
    assert len(data) * 8 >= BITS_MIN == 131_072
    return data[place // 8] >> (7 - place % 8) & 1


def test_a_did_key_holds_the_key_itself(at: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    key = jwk_of(at, capsys)
    value = 0
    for digit in key["did"].removeprefix("did:key:z"):
        value = value * 58 + BASE58.index(digit)
    assert value.to_bytes(34, "big") == b"\xed\x01" + PUBLIC
    assert key["did"].startswith("did:key:z6Mk"), "as all of Ed25519 do"
    assert key["jwk"]["x"] == base64.urlsafe_b64encode(PUBLIC).rstrip(b"=").decode()


def test_a_certificate_is_a_credential_that_another_library_verifies(
    at: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*at, "credential", NUMBER, "-f", "c.jwt", *LISTS]) == Exit.OK
    assert json.loads(capsys.readouterr().out)["place"] == 1
    said = verified("c.jwt", jwk_of(at, capsys))
    subject, chain = said["credentialSubject"], chain_of(State.ACTIVE)
    assert (subject["certificateNumber"], subject["name"], subject["category"]) == (NUMBER, PRODUCT.name, 6)
    assert [status["statusPurpose"] for status in said["credentialStatus"]] == ["revocation", "suspension"]
    for status in said["credentialStatus"]:
        url = URLS[status["statusPurpose"]]
        assert (status["type"], status["statusListCredential"]) == ("BitstringStatusListEntry", url)
        assert (status["statusListIndex"], status["id"]) == ("1", f"{url}#1")
    verdict = verify_status(said["evidence"][0]["tlogProof"], chain.policy())
    found = certificate_status(verdict, NUMBER)
    assert found is not None
    assert found.valid
    assert said["validFrom"] == format_time(found.since_ms or 0)
    assert said["validUntil"] == format_time(found.until_ms or 0)


@pytest.mark.parametrize(
    ("purpose", "bits"), [("revocation", [1, 0, 1, 0]), ("suspension", [0, 1, 0, 0])], ids=["revocation", "suspension"]
)
def test_a_status_list_has_a_bit_at_each_ones_place(
    at: list[str], capsys: pytest.CaptureFixture[str], purpose: str, bits: list[int]
) -> None:
    command = [*at, "status-list", "--purpose", purpose, "--url", URLS[purpose], "-f", "l.jwt", "--hours", "2"]
    assert run(command) == Exit.OK
    assert json.loads(capsys.readouterr().out)["marked"] == sum(bits)
    said = verified("l.jwt", jwk_of(at, capsys))
    subject = said["credentialSubject"]
    assert said["type"] == ["VerifiableCredential", "BitstringStatusListCredential"]
    assert (said["id"], subject["type"], subject["statusPurpose"]) == (URLS[purpose], "BitstringStatusList", purpose)
    assert parse_time(said["validUntil"]) - parse_time(said["validFrom"]) == 2 * HOUR_MS
    assert subject["ttl"] == 300_000
    assert [bit(subject["encodedList"], place) for place in range(4)] == bits


def test_places_stay_as_certificates_are_added_and_lists_grow_beyond_the_least() -> None:
    granted = [f"FTP-2026-01-{place:06d}" for place in range(BITS_MIN + 9)]
    marked = [granted[0], granted[7], granted[8], granted[-1], "FTP-2026-99-000001"]
    for count in (9, BITS_MIN, len(granted)):
        encoded = encoded_list(granted[:count], marked)
        assert [place for place in range(16) if bit(encoded, place)] == [0, 7, 8]
        assert encoded == encoded_list(granted[:count], reversed(marked)), "the same list is the same text"
    assert bit(encoded, BITS_MIN + 8) == 1


def test_a_list_of_131072_certificates_is_under_20_kb() -> None:
    granted = [f"{place}" for place in range(BITS_MIN)]
    marked = random.Random(1).sample(granted, BITS_MIN * 5 // 100)
    assert len(encoded_list(granted, marked)) < 20_000
    assert len(encoded_list(granted, marked[: BITS_MIN // 100])) < 4_500


@pytest.mark.parametrize("change", ["unknown", "removed", "another role", "excluded", "another member's"])
@pytest.mark.parametrize("command", [["credential", NUMBER, *LISTS], ["status-list", "--purpose", "revocation"]])
def test_a_key_that_the_chain_does_not_know_as_the_bodys_signs_nothing(
    at: list[str], node: Node, capsys: pytest.CaptureFixture[str], command: list[str], change: str
) -> None:
    page = node.answers["gov_listMembers"]({})
    member = page["members"][0]
    source = member["sources"][0]
    match change:
        case "unknown":
            source["key"] = "00" * 32
        case "removed":
            source["removed"] = True
        case "another role":
            source["roles"] = ["laboratory"]
        case "excluded":
            member["excluded"] = True
        case _:
            member["id"] = "cb-other"
    words = command if command[0] == "credential" else [*command, "--url", URLS["revocation"]]
    assert run([*at, *words, "-f", "x.jwt"]) == Exit.ERROR
    assert json.loads(capsys.readouterr().err)["error"]["reason"] == "foreign_key"
    assert not Path("x.jwt").exists()


def test_what_another_body_granted_is_not_ones_own_to_sign(
    at: list[str], node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    page = node.answers["gov_listMembers"]({})
    page["members"][0]["id"] = "cb-other"
    Path("cb.key").unlink()
    write_key(Path("cb.key"), new_key("source", member="cb-other", role="certification_body", seed=SEED))
    assert run([*at, "credential", NUMBER, "-f", "x.jwt", *LISTS]) == Exit.ERROR
    error = json.loads(capsys.readouterr().err)["error"]
    assert (error["reason"], error["expected"], error["got"]) == ("foreign_key", "cb", "cb-other")
    assert not Path("x.jwt").exists()


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (State.SUSPENDED, Exit.OK),
        (State.REVOKED, Exit.ERROR),
        (State.CANCELLED, Exit.ERROR),
        (State.REVIEWED, Exit.NOT_FOUND),
    ],
)
def test_only_what_is_in_force_or_may_be_again_gets_a_credential(
    at: list[str], node: Node, monkeypatch: pytest.MonkeyPatch, state: State, status: Exit
) -> None:
    serve(node, monkeypatch, state)
    assert run([*at, "credential", NUMBER, "-f", "x.jwt", *LISTS]) == status
    assert Path("x.jwt").exists() == (status == Exit.OK)


def test_a_node_without_the_whole_history_gives_no_places(
    at: list[str], node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    node.answers["ledger_getMemberEvents"] = lambda _: {"events": [], "cursor": None, "above_height": 7}
    for words in (
        ["credential", NUMBER, *LISTS],
        ["status-list", "--purpose", "revocation", "--url", URLS["revocation"]],
    ):
        assert run([*at, *words, "-f", "x.jwt"]) == Exit.ERROR
        assert "does not hold the whole history" in capsys.readouterr().err
        assert not Path("x.jwt").exists()


@pytest.mark.parametrize(
    "url", ["", "cb.example/list", "ftp://cb.example/list", "https://cb.example/list#1", "https://[x"]
)
def test_a_list_has_a_url(at: list[str], url: str) -> None:
    assert run([*at, "status-list", "--purpose", "revocation", "--url", url, "-f", "x.jwt"]) == Exit.USAGE


def test_a_node_that_is_behind_gives_no_list_of_now(at: list[str], node: Node) -> None:
    node.answers["net_status"] = lambda _: {**STATUS, "catching_up": True}
    command = ["status-list", "--purpose", "revocation", "--url", URLS["revocation"], "-f", "x.jwt"]
    assert run([*at, *command]) == Exit.UNHEALTHY
    assert not Path("x.jwt").exists()


def test_imports_have_places_in_the_lists_as_grants_have(
    at: list[str], node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    old = {"kind": "certificate.import", "outcome": {"applied": True}, "body": {"row": {"number": OTHER}}}
    refused = {**old, "outcome": {"applied": False}}
    rows = [refused, old, grant_row(NUMBER)]
    node.answers["ledger_getMemberEvents"] = lambda _: {"events": rows, "cursor": None, "above_height": 0}
    assert run([*at, "credential", NUMBER, "-f", "c.jwt", *LISTS]) == Exit.OK
    assert json.loads(capsys.readouterr().out)["place"] == 1
