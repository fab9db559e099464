"""net_*: this node, its peers and the validators."""

from __future__ import annotations

import msgspec

from primitives.validators import ValidatorSet
from rpc.errors import Code
from rpc.methods.gov import ProposalResult, proposals_under_way
from rpc.ports import NodeStatus, Services
from rpc.proofs import present_validators
from rpc.registry import method
from rpc.types import AsOf, NoParams, Result, Time, time_text


class StatusResult(NodeStatus, frozen=True, kw_only=True):
    """What a node tells of itself: `NodeStatus`, as of its newest block.

    `warnings` says what its operator has to mend, such as a wrong key file. `base_height` is where the history that it
    holds begins: 0, or the block of the snapshot that it joined from. `archived_height` is the height up to which the
    bodies of batches were moved to its archive. `behind_blocks` is how many blocks others have that it lacks, and
    `proved_until` the last time at which it can prove how the chain stood.
    """

    as_of: AsOf


class PeerResult(Result, frozen=True):
    """A peer as this node sees it; of a linked one, its release and the version of the protocol on the link.

    `votes` says whether it has a vote, as it told itself: a learner bears a validator's name without one. None where
    it has not told yet.
    """

    name: str
    member: str
    address: str
    connected: bool
    height: int | None
    last_seen: Time | None
    software: str | None
    protocol: int | None
    votes: bool | None


class PeersResult(Result, frozen=True):
    """The peers by name."""

    peers: list[PeerResult]
    as_of: AsOf


class ValidatorResult(Result, frozen=True):
    """A validator: its index in the set, and its public keys in hex."""

    index: int
    name: str
    member: str
    vote_key: str
    cosign_key: str
    log_key: str
    leader: bool


class ValidatorsResult(Result, frozen=True):
    """The set of the present epoch: n validators, of which f may be malicious or gone, and the quorum that decides.

    `proposals` are those under way, with their votes.
    """

    epoch: int
    view: int
    n: int
    f: int
    quorum: int
    hash: str
    validators: list[ValidatorResult]
    proposals: list[ProposalResult]
    as_of: AsOf


@method("net_status", params=NoParams, result=StatusResult)
def net_status(services: Services, params: NoParams) -> StatusResult:
    """This node's chain, role, position and peers."""
    del params
    status = services.node.status()
    return StatusResult(**msgspec.structs.asdict(status), as_of=status.height)


@method("net_peers", params=NoParams, result=PeersResult)
def net_peers(services: Services, params: NoParams) -> PeersResult:
    """The nodes that this node is or should be connected to."""
    del params
    peers = [
        PeerResult(
            peer.name,
            peer.member,
            peer.address,
            peer.connected,
            peer.height,
            None if peer.last_seen_ms is None else time_text(peer.last_seen_ms),
            peer.software,
            peer.protocol,
            peer.votes,
        )
        for peer in services.node.peers()
    ]
    return PeersResult(peers, services.node.status().height)


@method("net_validators", params=NoParams, result=ValidatorsResult, errors=(Code.UNAVAILABLE,))
def net_validators(services: Services, params: NoParams) -> ValidatorsResult:
    """The validators that vote now, and which of them leads."""
    del params
    validators, height = present_validators(services)
    return validators_result(validators, services.node.status(), proposals_under_way(services), height)


def validators_result(
    validators: ValidatorSet, status: NodeStatus, proposals: list[ProposalResult], height: int
) -> ValidatorsResult:
    """Return the set as JSON has it, with the leader that the node sees."""
    described = [
        ValidatorResult(
            index,
            validator.name,
            validator.member,
            validator.vote_key.hex(),
            validator.cosign_key.hex(),
            validator.log_key.hex(),
            validator.name == status.leader,
        )
        for index, validator in enumerate(validators.validators)
    ]
    return ValidatorsResult(
        validators.epoch,
        status.view,
        validators.n,
        validators.f,
        validators.quorum,
        validators.hash.hex(),
        described,
        proposals,
        height,
    )


METHODS = (net_status, net_peers, net_validators)
