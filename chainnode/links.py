"""Which nodes this one dials and expects, and whose certificates it takes: from the chain's state, and the settings.

Here: a pure function of the state; it is asked again at each epoch. Validators that joined later are dialled from the
block on that made them validators, and dial in before; those that left stay listed until the new epoch's first stable
checkpoint, since their cosignatures are needed for the old one's. Not here: links themselves (`p2p.peers`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from chainnode.config import split_address
from consensus.state import ReplicaState
from ledger.genesis import parse_address
from ledger.member_index import read_old_ca
from ledger.members import read_members
from ledger.nodes import listed_nodes
from ledger.state import StateReader
from p2p.config import PeerAddress
from p2p.tls import usable_cas


@dataclass(frozen=True, slots=True)
class Links:
    """The root CA of each member whose nodes may link, and the nodes that are expected, by name.

    `old_cas` are those that some members had before, by which their nodes may still be known.
    """

    member_cas: dict[str, str]
    peers: tuple[PeerAddress, ...]
    old_cas: dict[str, str] = field(default_factory=dict)


def ties_to_leavers(state: ReplicaState) -> bool:
    """Say whether the validators of the epoch before are still needed: no checkpoint of this one is stable yet."""
    return state.epoch > 0 and state.checkpoints.stable_height <= state.barrier_height


def links_of(ledger: StateReader, state: ReplicaState, extra: Iterable[str]) -> Links:
    """Return the links that the chain asks for after the delivered block; `extra` are those of the settings.

    A joiner knows the founders' addresses at first. Where none of them answers there any more, it follows through what
    its settings name: any node of a member whose CA it knows. What the chain says of a node's member goes before them.
    """
    peers: dict[str, PeerAddress] = {}
    for name, node in listed_nodes(ledger, state.epoch, with_previous=ties_to_leavers(state)).items():
        host, port = parse_address(node.address)
        peers[name] = PeerAddress(name, node.member, host, port)
    for text in extra:
        who, _, address = text.partition("@")
        name, _, member = who.partition("/")
        host, port = split_address(address)
        peers[name] = PeerAddress(name, peers[name].member if name in peers else member or name, host, port)
    peers.pop(state.name, None)
    members = [member for member in read_members(ledger) if member.ca_certificate and not member.excluded]
    validating = {node.member for node in listed_nodes(ledger, state.epoch, with_previous=True).values()}
    # Those of validators come first: a newcomer's CA must not push out one that order depends on.
    members.sort(key=lambda member: member.id not in validating)
    old = {member.id: pem for member in members if (pem := read_old_ca(ledger, member.id)) is not None}
    return Links({member.id: member.ca_certificate for member in members}, tuple(peers.values()), old)


def usable(links: Links) -> tuple[Links, list[str]]:
    """Return the links without the CAs that cannot be used, and whose these are; old CAs are joined to present ones.

    The chain judges a CA's form alone, and one member's CA must not keep a node from taking over all others'. So an old
    one comes after all others': it never pushes out a present one.
    """
    taken = usable_cas(links.member_cas)
    unusable = [member for member in links.member_cas if member not in taken]
    for member, pem in links.old_cas.items():
        others = {name: held for name, held in taken.items() if name != member}
        taken |= usable_cas({**others, member: taken.get(member, "") + pem})
    return replace(links, member_cas=taken, old_cas={}), unusable
