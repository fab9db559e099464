"""Which nodes may link with this one: the members' CAs of the current epoch, the listed nodes, room for others.

Here: rules over certified identities, replaceable as a whole. Not here: certificates' own validity (tls), bans and
duplicate connections (peers).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from p2p.config import NetworkConfig, PeerAddress
from p2p.reasons import PeerRefused, Reason
from p2p.tls import PeerIdentity, TrustAnchors, make_context


class Membership:
    """Immutable but for `replace`, which changes everything or, when it raises, nothing."""

    def __init__(self, config: NetworkConfig) -> None:
        self._config = config
        self.replace(config.member_cas, config.peers)

    def replace(self, member_cas: Mapping[str, str], peers: Iterable[PeerAddress]) -> None:
        """Take over CAs and listed nodes, and read our own certificate again.

        Raises InputError for a member's CA that cannot be used, UsageError for our own files.
        """
        config = self._config
        anchors = TrustAnchors(member_cas, config.chain_id)
        server_context = make_context(config.tls, anchors, server_side=True)
        client_context = make_context(config.tls, anchors, server_side=False)
        self._anchors, self.server_context, self.client_context = anchors, server_context, client_context
        self.listed = {peer.name: peer for peer in peers if peer.name != config.name}

    def identify(self, leaf_der: bytes | None, expects: str | None, now_ms: int) -> PeerIdentity:
        """Return who a certificate speaks for; `expects` is the name of a dialled peer. Raises PeerRefused."""
        identity = self._anchors.identify(leaf_der, now_ms)
        if identity.name == self._config.name:
            raise PeerRefused(Reason.SELF, "this node's own name", got=identity.name)
        listed = self.listed.get(identity.name)
        # Any member can certify any node name as its own; a listed name speaks only for the member it is listed with.
        if listed is not None and listed.member != identity.member:
            raise PeerRefused(
                Reason.NAME_TAKEN, f"node {identity.name}", expected=f"member {listed.member}", got=identity.member
            )
        if expects is not None and identity.name != expects:
            raise PeerRefused(Reason.WRONG_NAME, "dialled node", expected=expects, got=identity.name)
        return identity

    def check_room(self, newcomer: PeerIdentity, linked: Iterable[PeerIdentity]) -> None:
        """Raise PeerRefused where an unlisted newcomer finds no room; listed nodes always do."""
        if newcomer.name in self.listed:
            return
        limits = self._config.limits
        unlisted = [identity for identity in linked if identity.name not in self.listed]
        of_member = sum(identity.member == newcomer.member for identity in unlisted)
        if not self._config.accept_unlisted:
            raise PeerRefused(Reason.TOO_MANY_LINKS, "only listed nodes are accepted", got=newcomer.name)
        if len(unlisted) >= limits.unlisted_links_max:
            raise PeerRefused(Reason.TOO_MANY_LINKS, "unlisted nodes", expected=f"<= {limits.unlisted_links_max}")
        if of_member >= limits.unlisted_links_per_member_max:
            raise PeerRefused(
                Reason.TOO_MANY_LINKS,
                f"unlisted nodes of member {newcomer.member}",
                expected=f"<= {limits.unlisted_links_per_member_max}",
            )
