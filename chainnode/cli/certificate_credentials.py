"""`cert credential`, `cert status-list`, `cert credential-key`: certificates as W3C credentials of their issuer.

The certification body says them under its source key, which the chain knows; who verifies needs that key alone. Not
here: what they say (`chainnode.interop.credentials`) and how they are signed (`chainnode.interop.jose`).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chainnode.cli.certificate_interop import policy_of, policy_option, proved_now, timeout_option
from chainnode.cli.context import settings
from chainnode.cli.output import say, show
from primitives.errors import InputError, UsageError

if TYPE_CHECKING:
    from chainnode.client import NodeClient
    from chainnode.identity import KeyFile

CERTIFICATION_BODY = "certification_body"
PAGE = 100
HOUR_MS = 3_600_000
HOURS_MAX = 24 * 366

target_option = click.option(
    "-f", "--file", "target", type=click.Path(path_type=Path), required=True, help="Write the JWT here."
)


class ForeignKey(InputError):
    """A key may not say what it is asked to sign."""

    reason = "foreign_key"


class NotInForce(InputError):
    """A certificate that is final has no credential any more."""

    reason = "not_in_force"


@click.command()
@click.argument("number")
@target_option
@click.option("--revocation-list", "revocation_url", required=True, metavar="URL", help="Where that list is served.")
@click.option("--suspension-list", "suspension_url", required=True, metavar="URL", help="Where that list is served.")
@policy_option
@timeout_option
def credential(
    number: str, target: Path, revocation_url: str, suspension_url: str, policy_file: Path | None, timeout_s: float
) -> None:
    """Sign certificate NUMBER as a W3C Verifiable Credential, as the certification body that granted it."""
    from chainnode.files import write_file
    from chainnode.interop.credentials import Purpose, credential_of
    from chainnode.interop.jose import did_key, signed_credential
    from chainnode.interop.stapled import certificate_in
    from ledger.certificate_records import Status

    lists = {Purpose.REVOCATION: _url(revocation_url), Purpose.SUSPENSION: _url(suspension_url)}
    client = settings().client(token=True)
    key = _issuer(client)
    text, stapled = proved_now(number, policy_of(policy_file), timeout_s)
    certificate = certificate_in(stapled.verdict)
    if certificate is None or stapled.status is None:
        from chainnode.cli.exits import Missing

        raise Missing("no such certificate", where=number)
    if certificate.body != key.member:
        raise ForeignKey(
            "another certification body granted it", where=number, expected=certificate.body, got=key.member
        )
    if stapled.status.status in (Status.REVOKED, Status.CANCELLED, Status.EXPIRED):
        raise NotInForce(
            "not in force any more", where=number, expected="a certificate that is", got=stapled.status.status
        )
    granted = _granted(client, key.member)
    if number not in granted:
        raise InputError("the node's list of grants lacks it", where=number, hint="ask again, or another node")
    said = credential_of(
        certificate,
        issuer=did_key(key.source),
        chain_id=stapled.verdict.chain_id.hex(),
        place=granted.index(number),
        lists=lists,
        proof=text,
    )
    token = signed_credential(said, key.signing_key)
    write_file(target, token.encode())
    say(f"credential written to {target}")
    show({"number": number, "issuer": did_key(key.source), "place": granted.index(number), "bytes": len(token)})


@click.command("status-list")
@click.option("--purpose", type=click.Choice(["revocation", "suspension"]), required=True, help="What it tells.")
@click.option("--url", required=True, help="Where it will be served, as the credentials name it.")
@click.option(
    "--hours", type=click.IntRange(1, HOURS_MAX), default=24, show_default=True, help="For so long it may be believed."
)
@target_option
def status_list(purpose: str, url: str, hours: int, target: Path) -> None:
    """Sign the Bitstring Status List of all certificates that the key's certification body granted."""
    from chainnode.files import write_file
    from chainnode.interop.credentials import MEANT, Purpose, encoded_list, status_list_credential
    from chainnode.interop.jose import did_key, signed_credential

    place = _url(url)
    client = settings().client(token=True)
    key = _issuer(client)
    _check_current(client)
    now_ms = time.time_ns() // 1_000_000
    granted = _granted(client, key.member)
    meant = Purpose(purpose)
    statuses = sorted(status.value for status in MEANT[meant])
    marked = {
        row["number"] for status in statuses for row in client.pages("cert_list", "certificates", status=status)
    } & set(granted)
    encoded = encoded_list(granted, marked)
    said = status_list_credential(
        meant, encoded, issuer=did_key(key.source), url=place, from_ms=now_ms, until_ms=now_ms + hours * HOUR_MS
    )
    token = signed_credential(said, key.signing_key)
    write_file(target, token.encode())
    say(f"status list written to {target}; serve it at {place} as application/vc+jwt")
    show({"purpose": purpose, "granted": len(granted), "marked": len(marked), "bytes": len(token)})


@click.command("credential-key")
def credential_key() -> None:
    """Print the key's public part as JWK and did:key: all that verifying its credentials needs."""
    from chainnode.interop.jose import did_key, jwk, key_id

    key = settings().require_key()
    show({"member": key.member, "did": did_key(key.source), "kid": key_id(key.source), "jwk": jwk(key.source)})


def _url(text: str) -> str:
    """Return the URL of a list, to which fragments are added; `UsageError` for what is none."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(text)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.fragment or not text.isprintable():
        raise UsageError("not the URL of a list", expected="https://HOST/PATH without a fragment", got=text)
    return text


def _issuer(client: NodeClient) -> KeyFile:
    """Return the key of --as; `ForeignKey` unless it is a present source key of a certification body on the chain."""
    key = settings().require_key()
    for member in client.pages("gov_listMembers", "members"):
        if member["id"] != key.member or member["excluded"] or CERTIFICATION_BODY not in member["roles"]:
            continue
        for source in member["sources"]:
            if source["key"] == key.public and not source["removed"] and CERTIFICATION_BODY in source["roles"]:
                return key
    raise ForeignKey(
        "not a key of a certification body on this chain",
        where=str(settings().as_key),
        expected=f"a source key with the role {CERTIFICATION_BODY}",
        got=f"{key.public} of {key.member or 'nobody'}",
        hint="`chainnode member list -o json` shows the keys that are registered",
    )


def _check_current(client: NodeClient) -> None:
    """Raise `Unhealthy` where the node knows that it is behind: its list would be signed as of now."""
    from chainnode.client import Unhealthy

    if client.call("net_status")["catching_up"]:
        raise Unhealthy(
            "the node is catching up", expected="one that has the newest blocks", hint="wait, or ask another node"
        )


def _granted(client: NodeClient, member: str) -> list[str]:
    """Return the numbers that a body granted or imported, in the order of the log: each one's place for good."""
    numbers: list[str] = []
    cursor: dict[str, Any] = {}
    while True:
        page = client.call("ledger_getMemberEvents", member=member, order="asc", limit=PAGE, **cursor)
        if page["above_height"]:
            raise InputError(
                "the node does not hold the whole history",
                where=f"its history begins above block {page['above_height']}",
                expected="every grant since the first, or places would be others'",
                hint="ask a node that keeps all blocks, with --endpoint",
            )
        numbers += [
            (row["body"]["row"] if row["kind"] == "certificate.import" else row["body"])["number"]
            for row in page["events"]
            if row["kind"] in ("certificate.grant", "certificate.import") and row["outcome"]["applied"]
        ]
        if page["cursor"] is None:
            return numbers
        cursor = {"cursor": page["cursor"]}
