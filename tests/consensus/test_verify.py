"""What `verify` refuses: every message that a peer could forge, relabel, cut short or repeat."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from consensus.messages import (
    VIEW_MAX,
    WINDOW,
    CheckpointVote,
    Claim,
    CosignatureEvidence,
    Evidence,
    FetchBlocks,
    FetchProposals,
    Message,
    NewView,
    PrePrepare,
    Proposals,
    Status,
    ViewChange,
    Vote,
    decode_message,
    encode_message,
    kind_of,
)
from consensus.verify import Verification, WrongEpoch, verify, verify_committed
from primitives.block import Block, CommittedBlock
from primitives.errors import EncodingError, InputError, SignatureError
from primitives.ids import Epoch, Hash, Height, View
from primitives.notes import Checkpoint, cosign_statement
from primitives.votes import COMMIT, PREPARE, QuorumCertificate
from sim.signatures import stand_in_signature, stand_in_verify
from tests.consensus.toy_fixtures import (
    CHAIN_ID,
    ORIGIN,
    batch_of,
    certificate_of,
    chain_of,
    claim_of,
    new_view_of,
    proposal_of,
    validator_of,
    validators_of,
    view_change_of,
    vote_of,
)

KNOWN = Verification(CHAIN_ID, ORIGIN, validators_of(4), None, stand_in_verify)
BLOCKS = chain_of(12)
BLOCK = BLOCKS[0]
HASH = BLOCK.header.hash()
QUORUM = (0, 1, 2)


def changed(record: object, **fields: object) -> object:
    """Return a copy of a record with other fields: what an attacker does to a signed message."""
    held = {name: getattr(record, name) for name in record.__struct_fields__}  # type: ignore[attr-defined]  # a Record
    return type(record)(**{**held, **fields})


def certificates(count: int, *, start: int = 0) -> tuple[QuorumCertificate, ...]:
    return tuple(certificate_of(COMMIT, block, QUORUM) for block in BLOCKS[start : start + count])


def checkpoint_vote(
    signer: int, *, size: int = 5, root: bytes = HASH, claimed: int | None = None, use_vote_key: bool = False
) -> CheckpointVote:
    validator = validator_of(f"v{signer}")
    text = Checkpoint(ORIGIN, 5, Hash(root)).text()
    key = validator.vote_key if use_vote_key else validator.cosign_key
    index = signer if claimed is None else claimed
    signature = stand_in_signature(key, cosign_statement(text, 1))
    return CheckpointVote(Epoch(0), Height(1), size, Hash(root), 1, index, signature)


GOOD: dict[str, Message] = {
    "a proposal of the leader": proposal_of(BLOCK, 0),
    "a proposal of the leader of view 5": proposal_of(BLOCK, 1, view=5),
    "a prepare": vote_of(PREPARE, 2, HASH),
    "a commit of a far view": vote_of(COMMIT, 2, HASH, view=VIEW_MAX),
    "a view change from the start": view_change_of(1, 1),
    "a view change with a claim": view_change_of(1, 3, (), (claim_of(BLOCK, 2),)),
    "a view change after blocks": view_change_of(1, 1, certificates(3), (claim_of(BLOCKS[3], 0),)),
    "a view change after more than a window": view_change_of(1, 1, certificates(WINDOW, start=4)),
    "a new view": new_view_of(1, *(view_change_of(index, 1) for index in (0, 2, 3))),
    "a new view without its leader's own change": new_view_of(1, *(view_change_of(index, 1) for index in (0, 2, 3))),
    "a cosignature": checkpoint_vote(3),
    "evidence": Evidence(vote_of(PREPARE, 2, HASH), vote_of(PREPARE, 2, batch_of(1))),
    "evidence of cosignatures": CosignatureEvidence(checkpoint_vote(3), checkpoint_vote(3, root=HASH[::-1])),
    "a status": Status(Epoch(0), View(0), True, Height(0), Height(0), Height(0)),
}


@pytest.mark.parametrize("name", GOOD)
def test_well_formed_messages_are_taken(name: str) -> None:
    message = GOOD[name]
    assert verify(message, KNOWN).message == message
    assert decode_message(kind_of(message), encode_message(message)) == message


def lowered(certificate: QuorumCertificate, **fields: object) -> Claim:
    return Claim(BLOCK, changed(certificate, **fields))  # type: ignore[arg-type]  # a certificate


def headed(**fields: object) -> Block:
    """Return the block with another header."""
    return Block(changed(BLOCK.header, **fields), BLOCK.batch_hashes)  # type: ignore[arg-type]  # a header


PREPARED = certificate_of(PREPARE, BLOCK, QUORUM, view=1)


def claiming(claim: Claim, view: int = 3) -> ViewChange:
    return view_change_of(1, view, (), (claim,))


BAD: dict[str, Callable[[], Message]] = {
    # proposals
    "a proposal signed by another than the leader": lambda: proposal_of(BLOCK, 1),
    "a proposal of a leader in a view that it does not lead": lambda: proposal_of(BLOCK, 0, view=1),
    "a proposal moved to another view": lambda: changed(proposal_of(BLOCK, 0), view=4),
    "a proposal with another block under the signature": lambda: changed(proposal_of(BLOCK, 0), block=BLOCKS[1]),
    "a proposal whose batches are not those of its header": lambda: proposal_of(Block(BLOCK.header, (batch_of(9),)), 0),
    "a proposal of another chain": lambda: proposal_of(headed(chain_id=batch_of(1)), 0),
    "a proposal of another protocol version": lambda: proposal_of(headed(version=0), 0),
    "a proposal of another suite": lambda: proposal_of(headed(suite=2), 0),
    "a proposal at height 0": lambda: proposal_of(headed(height=0), 0),
    "a proposal with a negative time": lambda: proposal_of(headed(time_ms=-1), 0),
    "a proposal whose block is of another epoch": lambda: changed(proposal_of(headed(epoch=1), 0), epoch=0),
    "a proposal with a negative view": lambda: proposal_of(BLOCK, 3, view=-1),
    # votes
    "a vote whose claimed signer is another": lambda: vote_of(PREPARE, 2, HASH, claimed=1),
    "a prepare replayed as a commit": lambda: changed(vote_of(PREPARE, 2, HASH), phase=COMMIT),
    "a vote moved to another view": lambda: changed(vote_of(PREPARE, 2, HASH), view=1),
    "a vote moved to another height": lambda: changed(vote_of(PREPARE, 2, HASH), height=2),
    "a vote for another block": lambda: changed(vote_of(PREPARE, 2, HASH), block_hash=batch_of(1)),
    "a vote of an unknown phase": lambda: changed(vote_of(PREPARE, 2, HASH), phase=3),
    "a vote of a validator that does not exist": lambda: changed(vote_of(PREPARE, 2, HASH), validator=4),
    "a vote of a negative index": lambda: changed(vote_of(PREPARE, 2, HASH), validator=-1),
    "a vote in a view beyond the largest": lambda: vote_of(PREPARE, 2, HASH, view=VIEW_MAX + 1),
    "a vote at height 0": lambda: vote_of(PREPARE, 2, HASH, height=0),
    "a vote with a cut signature": lambda: changed(vote_of(PREPARE, 2, HASH), signature=b"\1" * 63),
    # view changes
    "a view change to view 0": lambda: view_change_of(1, 0),
    "a view change whose claimed signer is another": lambda: changed(view_change_of(1, 1), validator=2),
    "a view change moved to another view": lambda: changed(view_change_of(1, 1), view=2),
    "a view change whose claims were taken away": lambda: changed(claiming(claim_of(BLOCK, 1)), claims=()),
    "a claim prepared in the target view": lambda: claiming(claim_of(BLOCK, 3)),
    "a claim prepared above the target view": lambda: claiming(claim_of(BLOCK, 4)),
    "a claim relabelled with a higher view": lambda: claiming(lowered(PREPARED, view=2)),
    "a claim with too few prepares": lambda: claiming(lowered(PREPARED, signatures=PREPARED.signatures[:2])),
    "a claim with one prepare three times": lambda: claiming(lowered(PREPARED, signatures=PREPARED.signatures[:1] * 3)),
    "a claim whose signers are not in order": lambda: claiming(lowered(PREPARED, signatures=PREPARED.signatures[::-1])),
    "a claim with prepares of another block": lambda: claiming(
        Claim(BLOCK, certificate_of(PREPARE, BLOCKS[1], QUORUM))
    ),
    "a claim whose certificate mixes views": lambda: claiming(
        lowered(PREPARED, signatures=(*PREPARED.signatures[:2], certificate_of(PREPARE, BLOCK, QUORUM).signatures[2]))
    ),
    "a claim that rests on commits": lambda: claiming(Claim(BLOCK, certificate_of(COMMIT, BLOCK, QUORUM))),
    "a claim relabelled from commits": lambda: claiming(
        Claim(BLOCK, changed(certificate_of(COMMIT, BLOCK, QUORUM), phase=PREPARE))  # type: ignore[arg-type]
    ),
    "a claim of another epoch": lambda: claiming(lowered(PREPARED, epoch=1)),
    "a claim beyond the window": lambda: claiming(claim_of(BLOCKS[WINDOW], 0)),
    "a claim at a delivered height": lambda: view_change_of(1, 3, certificates(1), (claim_of(BLOCK, 1),)),
    "two claims of one height": lambda: view_change_of(1, 3, (), (claim_of(BLOCK, 1), claim_of(BLOCK, 2))),
    "claims that do not ascend": lambda: view_change_of(1, 3, (), (claim_of(BLOCKS[1], 1), claim_of(BLOCK, 1))),
    "a gap in the delivered certificates": lambda: view_change_of(1, 1, (*certificates(1), *certificates(2, start=2))),
    "a gap in a whole window of delivered certificates": lambda: view_change_of(
        1, 1, (*certificates(6, start=1), *certificates(2, start=8))
    ),
    "a lone certificate above a gap": lambda: view_change_of(1, 1, certificates(1, start=5)),
    "delivered certificates left out": lambda: view_change_of(1, 1, certificates(WINDOW - 1, start=4)),
    "too many delivered certificates": lambda: view_change_of(1, 1, certificates(WINDOW + 1)),
    "a delivered certificate made of prepares": lambda: view_change_of(1, 1, (certificate_of(PREPARE, BLOCK, QUORUM),)),
    "a delivered certificate of too few": lambda: view_change_of(1, 1, (certificate_of(COMMIT, BLOCK, (0, 1)),)),
    "delivered certificates of an invented old epoch": lambda: view_change_of(
        1,
        1,
        tuple(changed(item, epoch=-1) for item in certificates(WINDOW, start=4)),  # type: ignore[misc]
    ),
    # new views
    "a new view of another than its leader": lambda: new_view_of(2, *(view_change_of(index, 1) for index in QUORUM)),
    "a new view with one view change twice": lambda: new_view_of(1, *(view_change_of(index, 1) for index in (0, 0, 2))),
    "a new view with too few view changes": lambda: new_view_of(1, view_change_of(0, 1), view_change_of(2, 1)),
    "a new view with more than a quorum": lambda: new_view_of(1, *(view_change_of(index, 1) for index in range(4))),
    "a new view with view changes of another view": lambda: new_view_of(
        1, view_change_of(0, 1), view_change_of(2, 1), view_change_of(3, 2)
    ),
    "a new view with a forged view change": lambda: new_view_of(
        1,
        view_change_of(0, 1),
        view_change_of(2, 1),
        changed(view_change_of(2, 1), validator=3),  # type: ignore[arg-type]
    ),
    "a new view with a view change left out after signing": lambda: changed(
        new_view_of(1, *(view_change_of(index, 1) for index in QUORUM)), view_changes=(view_change_of(0, 1),) * 3
    ),
    "a new view moved to another view": lambda: changed(
        new_view_of(1, *(view_change_of(index, 1) for index in QUORUM)), view=5
    ),
    # checkpoints
    "a cosignature of another size": lambda: checkpoint_vote(3, size=6),
    "a cosignature whose claimed signer is another": lambda: checkpoint_vote(3, claimed=2),
    "a cosignature made with the voting key": lambda: checkpoint_vote(3, use_vote_key=True),
    "a cosignature of an empty log": lambda: changed(checkpoint_vote(3), size=0),
    "a cosignature with a short root": lambda: changed(checkpoint_vote(3), root=b"\1" * 31),
    # evidence
    "evidence of two votes for the same block": lambda: Evidence(vote_of(PREPARE, 2, HASH), vote_of(PREPARE, 2, HASH)),
    "evidence of votes at two heights": lambda: Evidence(
        vote_of(PREPARE, 2, HASH), vote_of(PREPARE, 2, batch_of(1), height=2)
    ),
    "evidence of votes of two views": lambda: Evidence(
        vote_of(PREPARE, 2, HASH), vote_of(PREPARE, 2, batch_of(1), view=1)
    ),
    "evidence of a prepare and a commit": lambda: Evidence(vote_of(PREPARE, 2, HASH), vote_of(COMMIT, 2, batch_of(1))),
    "evidence of two validators": lambda: Evidence(vote_of(PREPARE, 2, HASH), vote_of(PREPARE, 1, batch_of(1))),
    "evidence with a forged vote": lambda: Evidence(
        vote_of(PREPARE, 2, HASH), vote_of(PREPARE, 1, batch_of(1), claimed=2)
    ),
    "evidence of one cosignature": lambda: CosignatureEvidence(checkpoint_vote(3), checkpoint_vote(3)),
    "evidence of two cosigners": lambda: CosignatureEvidence(checkpoint_vote(3), checkpoint_vote(2, root=HASH[::-1])),
    "evidence with a forged cosignature": lambda: CosignatureEvidence(
        checkpoint_vote(3), checkpoint_vote(2, root=HASH[::-1], claimed=3)
    ),
    # asking
    "a status of a negative height": lambda: Status(Epoch(0), View(0), True, Height(-1), Height(0), Height(0)),
    "a status of a huge view": lambda: Status(Epoch(0), View(VIEW_MAX + 1), True, Height(0), Height(0), Height(0)),
    "blocks from before the first": lambda: FetchBlocks(Height(0), 1),
    "more blocks than may be asked for": lambda: FetchBlocks(Height(1), 65),
    "no blocks": lambda: FetchBlocks(Height(1), 0),
    "no proposals": lambda: FetchProposals(()),
    "more proposals than may be asked for": lambda: FetchProposals((HASH,) * (WINDOW + 1)),
    "proposals of another chain": lambda: Proposals((headed(chain_id=batch_of(1)),)),
}


@pytest.mark.parametrize("name", BAD)
def test_forged_stale_and_malformed_messages_are_refused(name: str) -> None:
    with pytest.raises(InputError):
        verify(BAD[name](), KNOWN)


@pytest.mark.parametrize("epoch", [1, 7, -1])
def test_messages_of_an_unknown_epoch_are_refused_without_blame(epoch: int) -> None:
    for message in (vote_of(PREPARE, 2, HASH, epoch=epoch), changed(view_change_of(1, 1), epoch=epoch)):
        with pytest.raises(WrongEpoch):
            verify(message, KNOWN)  # type: ignore[arg-type]  # a message


COMMITTED_BAD: dict[str, CommittedBlock] = {
    "no certificate": CommittedBlock(BLOCK, None),
    "a certificate of another block": CommittedBlock(BLOCK, certificate_of(COMMIT, BLOCKS[1], QUORUM)),
    "a prepare certificate": CommittedBlock(BLOCK, certificate_of(PREPARE, BLOCK, QUORUM)),
    "a certificate of too few": CommittedBlock(BLOCK, certificate_of(COMMIT, BLOCK, (1, 2))),
    "a certificate of another epoch": CommittedBlock(BLOCK, changed(certificate_of(COMMIT, BLOCK, QUORUM), epoch=1)),  # type: ignore[arg-type]
    "a certificate relabelled with another view": CommittedBlock(
        BLOCK, changed(certificate_of(COMMIT, BLOCK, QUORUM), view=1)  # type: ignore[arg-type]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", COMMITTED_BAD)
def test_a_fetched_block_without_its_own_quorums_certificate_is_refused(name: str) -> None:
    with pytest.raises(SignatureError):
        verify_committed(COMMITTED_BAD[name], KNOWN)


def test_a_fetched_block_with_its_certificate_is_taken() -> None:
    verify_committed(CommittedBlock(BLOCK, certificate_of(COMMIT, BLOCK, (0, 2, 3))), KNOWN)


@pytest.mark.parametrize("kind", [0, 12, 255, -1])
def test_an_unknown_kind_is_refused(kind: int) -> None:
    with pytest.raises(EncodingError):
        decode_message(kind, b"\x90")


@pytest.mark.parametrize(("kind", "name"), [(1, "a prepare"), (2, "a status"), (3, "a prepare"), (4, "a cosignature")])
def test_a_payload_of_another_type_than_its_envelope_is_refused(kind: int, name: str) -> None:
    with pytest.raises(EncodingError):
        decode_message(kind, encode_message(GOOD[name]))


def test_an_oversized_payload_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(EncodingError):
        decode_message(2, b"\x00" * 2_000)


def test_a_vote_with_longer_integers_is_refused() -> None:
    data = encode_message(vote_of(PREPARE, 2, HASH))
    assert data[:2] == b"\x97\x01"
    with pytest.raises(EncodingError):
        decode_message(2, b"\x97\xcc\x01" + data[2:])


def test_names_of_this_table_cover_every_kind_of_signed_message() -> None:
    signed = {PrePrepare, Vote, ViewChange, NewView, CheckpointVote, Evidence}
    assert signed <= {type(make()) for make in BAD.values()}
