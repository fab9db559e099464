"""Client certificates of RPC: who shows one, what the chain lets its member grant, and the end of it when that changes.

Here: the judgement of certificates by the members' CAs and roles as the chain has them now. Not here: making them
(`p2p.certificates`), the TLS handshake (which takes any certificate of a CA that the chain listed since the start, so
that whoever is refused later is told why), what a role may do (`rpc.rights`).

A member's CA names a role in the certificate; it counts as far as the chain and this node go along. The node's own
member may let in anybody it likes, other members only readers: they hold the same record. A regulator's role needs a
member that is a regulator on the chain.
"""

from __future__ import annotations

import ssl
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Final

import structlog

from ledger.members import Member
from ledger.members import Role as MemberRole
from p2p.reasons import PeerRefused
from p2p.tls import ClientIdentity, TrustAnchors
from rpc.errors import Code, RpcError
from rpc.rights import Rights, Role

KNOWN_MAX: Final = 1_000
READERS: Final = (Role.AUDITOR, Role.REGULATOR)

log = structlog.get_logger("clients")


class ClientCertificates:
    """The client certificates that were shown, with their rights. Implements `rpc.ports.Certificates`; on the loop."""

    def __init__(self, context: ssl.SSLContext, *, chain_id: bytes, member: str) -> None:
        """Take the listener's context, to which the members' CAs are added, and the node's own member."""
        self._context = context
        self._chain_id = chain_id
        self._member = member
        self._anchors = TrustAnchors({}, chain_id)
        self._members: dict[str, Member] = {}
        self._added: set[str] = set()
        # By the SHA-256 of the certificate, the latest use last.
        self._known: OrderedDict[bytes, tuple[bytes, Rights]] = OrderedDict()

    def update(self, member_cas: Mapping[str, str], members: Iterable[Member], now_ms: int) -> None:
        """Take over what the chain says now, and end the rights of certificates that do not count any more."""
        self._anchors = TrustAnchors(member_cas, self._chain_id)
        self._members = {member.id: member for member in members if not member.excluded}
        for pem in member_cas.values():
            if pem not in self._added:
                self._context.load_verify_locations(cadata=pem)
                self._added.add(pem)
        for key, (der, rights) in list(self._known.items()):
            try:
                self._judge(der, now_ms)
            except RpcError as error:
                del self._known[key]
                rights.end("certificate_refused")
                log.info("client_certificate_ended", who=rights.who, reason=error.got)

    def find(self, der: bytes, now_s: float) -> Rights:
        """Return the rights of a certificate; -32004 where it does not count, naming why."""
        key = sha256(der).digest()
        known = self._known.get(key)
        if known is not None and known[1].ends_s > now_s:
            self._known.move_to_end(key)
            known[1].used_s = now_s
            return known[1]
        self._known.pop(key, None)
        identity, role = self._judge(der, int(now_s * 1_000))
        who = f"certificate {identity.member}/{identity.name}"
        rights = Rights(who, role, member=identity.member, client=who, ends_s=identity.not_after_ms / 1_000)
        self._known[key] = (der, rights)
        if len(self._known) > KNOWN_MAX:
            self._forget_one()
        return rights

    def _forget_one(self) -> None:
        """Forget the one that was not used for longest and has nothing open; what is not known here, nothing ends."""
        oldest = next((key for key, (_, rights) in self._known.items() if not rights.watchers), None)
        if oldest is not None:
            del self._known[oldest]
            return
        _, (_, rights) = self._known.popitem(last=False)
        rights.end("certificate_refused")

    def _judge(self, der: bytes, now_ms: int) -> tuple[ClientIdentity, Role]:
        try:
            identity = self._anchors.identify_client(der, now_ms)
        except PeerRefused as error:
            raise _refused(str(error)) from None
        member = self._members.get(identity.member)
        if member is None:
            raise _refused(f"{identity.member} is no member")
        try:
            role = Role(identity.role)
        except ValueError:
            raise _refused("a role that nobody knows") from None
        if role not in READERS and identity.member != self._member:
            raise _refused(f"{role} by the certificate of {identity.member}, at a node of {self._member}")
        if role is Role.REGULATOR and MemberRole.REGULATOR not in member.roles:
            raise _refused(f"{identity.member} is no regulator on the chain")
        return identity, role


def _refused(why: str) -> RpcError:
    return RpcError(
        Code.NOT_PERMITTED,
        "certificate_refused",
        "the client certificate does not count here",
        expected="one of a member's root CA on the chain, for a role that this member may grant here",
        got=why,
        hint="`chainnode keys client-certificate` makes one",
    )
