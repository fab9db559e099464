"""What a node's parts are set up with, out of its settings, its home and its chain.

Here: the replica's parameters, the network's terms, the listeners' TLS. Not here: the settings (`chainnode.config`) and
the node that is made of these parts (`chainnode.node`).
"""

from __future__ import annotations

import ssl

import msgspec

from chainnode.config import NodeConfig, OpsSection, P2PSection, RpcSection, is_loopback, split_address
from chainnode.core import WIRE_KINDS
from chainnode.home import Home
from chainnode.identity import read_token
from chainnode.links import Links
from chainnode.opening import timed_by
from chainnode.version import VERSION
from consensus.state import Parameters
from ledger.chain import Chain
from ledger.genesis import Genesis
from p2p.config import KindSpec, NetworkConfig, NetworkLimits, TlsFiles
from p2p.lanes import Lane
from primitives.hashing import PROTOCOL_OLDEST, PROTOCOL_VERSION
from rpc.access import token_hash
from rpc.ops import OpsSettings
from rpc.server import RpcSettings

VERIFY_MODES = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


def parameters(config: NodeConfig, chain: Chain) -> Parameters:
    """Return the replica's parameters: its own time-outs, and the figures of the policy in force."""
    settings = config.consensus
    own = Parameters(
        timeout_base_ms=settings.view_timeout_ms,
        timeout_max_ms=settings.view_timeout_ms_max,
        status_interval_ms=settings.status_interval_ms,
        propose_interval_ms=settings.proposal_interval_ms,
    )
    return timed_by(own, chain.policy_after(chain.tip_hash))


def network_config(home: Home, config: NodeConfig, genesis: Genesis, links: Links) -> NetworkConfig:
    """Return the terms on which this node links with others."""
    host, port = split_address(config.p2p.listen)
    return NetworkConfig(
        name=config.node.name,
        member=config.node.member,
        chain_id=genesis.chain_id,
        protocol=PROTOCOL_VERSION,
        protocol_oldest=PROTOCOL_OLDEST,
        software=f"chainnode/{VERSION}",
        tls=TlsFiles(home.tls_key, home.tls_certificate),
        member_cas=links.member_cas,
        kinds={
            kind: KindSpec(name, size, Lane.CONSENSUS if first else Lane.BULK)
            for kind, (name, size, first) in WIRE_KINDS.items()
        },
        peers=links.peers,
        listen_host=host,
        listen_port=port,
        limits=network_limits(config.p2p),
    )


def network_limits(settings: P2PSection) -> NetworkLimits:
    """Return the limits of links, those of the settings over the defaults."""
    defaults = NetworkLimits()
    rate = settings.peer_bytes_per_second_max
    return NetworkLimits(
        handshake_timeout_ms=settings.handshake_timeout_ms,
        unlisted_links_max=settings.unlisted_peers_max,
        backoff_longest_ms=max(settings.reconnect_delay_ms_max, defaults.backoff_first_ms),
        bulk_queue_bytes_max=settings.queue_bytes_max,
        bulk_quota=msgspec.structs.replace(defaults.bulk_quota, bytes_per_second=rate, bytes_burst=rate),
    )


def rpc_settings(home: Home, config: NodeConfig) -> RpcSettings:
    """Return what the RPC listener is set up with."""
    rpc = config.rpc
    host, port = split_address(rpc.listen)
    return RpcSettings(
        host=host,
        port=port,
        hosts=tuple(rpc.hosts),
        origins=tuple(rpc.origins),
        on_loopback=is_loopback(host),
        token_hashes=(token_hash(read_token(home.resolve(rpc.token_file))),),
        tls=rpc_tls(home, config),
        body_bytes_max=rpc.body_bytes_max,
        connections_max=rpc.connections_max,
        requests_per_second_max=rpc.requests_per_second_max,
        requests_per_second_of_roles={
            role: int(rate) for role, _, rate in (text.partition("=") for text in rpc.requests_per_second_of_roles)
        },
        public=rpc.public,
        websockets_max=rpc.websockets_max,
        websocket_requests_max=rpc.websocket_requests_max,
        subscriptions_max=rpc.subscriptions_max,
        explorer=rpc.explorer,
        explorer_origins=tuple(rpc.explorer_origins),
    )


def rpc_tls(home: Home, config: NodeConfig) -> ssl.SSLContext | None:
    """Return the TLS settings of the RPC listener; configuration refuses to leave loopback without them."""
    rpc = config.rpc
    if not rpc.tls_certificate_file:
        return None
    context = _server_tls(home, rpc)
    # A resumed session would skip what the members' CAs are now.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_mode = VERIFY_MODES[rpc.client_certificates]
    return context


def ops_settings(home: Home, config: NodeConfig) -> OpsSettings:
    """Return what the operations listener is set up with."""
    host, port = split_address(config.ops.listen)
    return OpsSettings(host, port, _server_tls(home, config.ops) if config.ops.tls_certificate_file else None)


def _server_tls(home: Home, section: RpcSection | OpsSection) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(home.resolve(section.tls_certificate_file), home.resolve(section.tls_key_file))
    return context
