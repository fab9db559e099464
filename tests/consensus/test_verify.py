"""What `verify` refuses: every message that a peer could forge, relabel, cut short or repeat."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from consensus.messages import (
    TIME_MS_MAX,
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
from consensus.verify import BATCHES_PER_BLOCK_MAX, Verification, WrongEpoch, verify, verify_committed
from primitives.block import Block, CommittedBlock, batches_root
from primitives.errors import EncodingError, InputError, SignatureError
from primitives.hashing import DOMAIN, leaf_hash
from primitives.ids import Epoch, Hash, Height, View
from primitives.notes import Checkpoint, cosign_statement
from primitives.votes import COMMIT, PREPARE, QuorumCertificate
from sim.signatures import stand_in_signature, stand_in_verify
from tests.consensus.toy_fixtures import (
    CHAIN_ID,
    ORIGIN,
    START_MS,
    batch_of,
    certificate_of,
    chain_of,
    checkpoint_vote_of,
    claim_of,
    new_view_of,
    proposal_of,
    validator_of,
    validators_of,
    verified,
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


def lowered(certificate: QuorumCertificate, **fields: object) -> Claim:
    return Claim(BLOCK, changed(certificate, **fields))  # type: ignore[arg-type]  # a certificate


def headed(**fields: object) -> Block:
    """Return the block with another header."""
    return Block(changed(BLOCK.header, **fields), BLOCK.batch_hashes)  # type: ignore[arg-type]  # a header


PREPARED = certificate_of(PREPARE, BLOCK, QUORUM, view=1)
OTHER = chain_of(1, branch=1)[0]


def certificate_at(height: int) -> QuorumCertificate:
    """Return a certificate of PREPAREs that name the block at another height than its own."""
    votes = tuple((signer, vote_of(PREPARE, signer, HASH, height=height).signature) for signer in QUORUM)
    return QuorumCertificate(PREPARE, Epoch(0), View(0), Height(height), HASH, votes)


def signed_in_epoch_0(block: Block) -> PrePrepare:
    return PrePrepare(Epoch(0), View(0), block, vote_of(PREPARE, 0, block.header.hash()).signature)


def crowded(count: int) -> Block:
    batches = tuple(batch_of(number) for number in range(count))
    return Block(headed(batches_root=batches_root(batches)).header, batches)


def claiming(claim: Claim, view: int = 3) -> ViewChange:
    return view_change_of(1, view, (), (claim,))


GOOD: dict[str, Message] = {
    "a proposal of the leader": proposal_of(BLOCK, 0),
    "a proposal of as many batches as a block may have": proposal_of(crowded(BATCHES_PER_BLOCK_MAX), 0),
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
    "a status": Status(Epoch(0), View(0), True, Height(0), Height(0), Height(0), True),
}


@pytest.mark.parametrize("name", GOOD)
def test_well_formed_messages_are_taken(name: str) -> None:
    message = GOOD[name]
    assert verify(message, KNOWN).message == message
    assert decode_message(kind_of(message), encode_message(message)) == message


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
    "a proposal signed in another epoch than its block's": lambda: signed_in_epoch_0(headed(epoch=1)),
    "a proposal of more batches than a block may have": lambda: proposal_of(crowded(BATCHES_PER_BLOCK_MAX + 1), 0),
    # votes
    "a vote whose claimed signer is another": lambda: vote_of(PREPARE, 2, HASH, claimed=1),
    "a prepare replayed as a commit": lambda: changed(vote_of(PREPARE, 2, HASH), phase=COMMIT),
    "a vote moved to another view": lambda: changed(vote_of(PREPARE, 2, HASH), view=1),
    "a vote moved to another height": lambda: changed(vote_of(PREPARE, 2, HASH), height=2),
    "a vote for another block": lambda: changed(vote_of(PREPARE, 2, HASH), block_hash=batch_of(1)),
    "a vote of an unknown phase": lambda: changed(vote_of(PREPARE, 2, HASH), phase=3),
    "a vote of a validator that does not exist": lambda: changed(vote_of(PREPARE, 2, HASH), validator=4),
    "a vote of a negative index": lambda: vote_of(PREPARE, 3, HASH, claimed=-1),
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
    "a claim whose first prepare is of another view": lambda: claiming(
        lowered(PREPARED, signatures=(certificate_of(PREPARE, BLOCK, QUORUM).signatures[0], *PREPARED.signatures[1:]))
    ),
    "a claim with prepares of another block of its height": lambda: claiming(
        Claim(BLOCK, certificate_of(PREPARE, OTHER, QUORUM))
    ),
    "a claim with prepares of its block at another height": lambda: claiming(Claim(BLOCK, certificate_at(2))),
    "a claim that rests on commits": lambda: claiming(Claim(BLOCK, certificate_of(COMMIT, BLOCK, QUORUM))),
    "a claim relabelled from commits": lambda: claiming(
        Claim(BLOCK, changed(certificate_of(COMMIT, BLOCK, QUORUM), phase=PREPARE))  # type: ignore[arg-type]  # changed keeps no type
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
        tuple(changed(item, epoch=-1) for item in certificates(WINDOW, start=4)),  # type: ignore[misc]  # changed keeps no type
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
        changed(view_change_of(2, 1), validator=3),  # type: ignore[arg-type]  # changed keeps no type
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
    "evidence with a forged vote at first": lambda: Evidence(
        vote_of(PREPARE, 1, batch_of(1), claimed=2), vote_of(PREPARE, 2, HASH)
    ),
    "evidence of cosignatures of a log that grew": lambda: CosignatureEvidence(
        checkpoint_vote_of(3, 1, 5, HASH), checkpoint_vote_of(3, 2, 7, batch_of(1), time_s=START_MS)
    ),
    "evidence of one cosignature": lambda: CosignatureEvidence(checkpoint_vote(3), checkpoint_vote(3)),
    "evidence of two cosigners": lambda: CosignatureEvidence(checkpoint_vote(3), checkpoint_vote(2, root=HASH[::-1])),
    "evidence with a forged cosignature": lambda: CosignatureEvidence(
        checkpoint_vote(3), checkpoint_vote(2, root=HASH[::-1], claimed=3)
    ),
    # asking
    "a status of a negative height": lambda: Status(Epoch(0), View(0), True, Height(-1), Height(0), Height(0), True),
    "a status of a huge view": lambda: Status(
        Epoch(0), View(VIEW_MAX + 1), True, Height(0), Height(0), Height(0), True
    ),
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
    "a certificate of another block of its height": CommittedBlock(BLOCK, certificate_of(COMMIT, OTHER, QUORUM)),
    "a prepare certificate": CommittedBlock(BLOCK, certificate_of(PREPARE, BLOCK, QUORUM)),
    "a certificate of too few": CommittedBlock(BLOCK, certificate_of(COMMIT, BLOCK, (1, 2))),
    "a certificate of another epoch": CommittedBlock(BLOCK, changed(certificate_of(COMMIT, BLOCK, QUORUM), epoch=1)),  # type: ignore[arg-type]  # changed keeps no type
    "a certificate relabelled with another view": CommittedBlock(
        BLOCK, changed(certificate_of(COMMIT, BLOCK, QUORUM), view=1)  # type: ignore[arg-type]  # changed keeps no type
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


# --- two epochs: what is good in one of them is not in the other

NEXT = Verification(CHAIN_ID, ORIGIN, validators_of(4, epoch=1), validators_of(4), stand_in_verify)
BLOCK_1 = headed(epoch=1)


def of_epoch(epoch: int, *delivered: QuorumCertificate, claims: tuple[Claim, ...] = (), signer: int = 1) -> ViewChange:
    """Return a signed VIEW-CHANGE to view 1 of an epoch."""
    unsigned = ViewChange(Epoch(epoch), View(1), signer, delivered, claims, b"")
    signature = stand_in_signature(validator_of(f"v{signer}").vote_key, unsigned.statement(CHAIN_ID))
    return ViewChange(Epoch(epoch), View(1), signer, delivered, claims, signature)


def new_view_in_epoch_1(epoch: int) -> NewView:
    """Return a NEW-VIEW of epoch 1, signed by its leader, with VIEW-CHANGEs of an epoch."""
    changes = tuple(of_epoch(epoch, signer=signer) for signer in QUORUM)
    unsigned = NewView(Epoch(1), View(1), changes, b"")
    signature = stand_in_signature(validator_of("v2").vote_key, unsigned.statement(CHAIN_ID))
    return NewView(Epoch(1), View(1), changes, signature)


def certificate_in_epoch(epoch: int, block: Block, phase: int = PREPARE) -> QuorumCertificate:
    """Return a certificate of an epoch's votes for a block of whatever epoch."""
    header = block.header
    found = [vote_of(phase, index, header.hash(), height=header.height, epoch=epoch) for index in QUORUM]
    signatures = tuple((vote.validator, vote.signature) for vote in found)
    return QuorumCertificate(phase, Epoch(epoch), View(0), header.height, header.hash(), signatures)


GOOD_IN_EPOCH_1: dict[str, Message] = {
    "a new view": new_view_in_epoch_1(1),
    "a claim": of_epoch(1, claims=(Claim(BLOCK_1, certificate_in_epoch(1, BLOCK_1)),)),
    "a base of the epoch before": of_epoch(1, *certificates(WINDOW)),
}
BAD_IN_EPOCH_1: dict[str, Message] = {
    "a new view with view changes of the epoch before": new_view_in_epoch_1(0),
    "a claim prepared in the epoch before": of_epoch(1, claims=(Claim(BLOCK_1, certificate_in_epoch(0, BLOCK_1)),)),
    "a claimed block of the epoch before": of_epoch(1, claims=(Claim(BLOCK, certificate_in_epoch(1, BLOCK)),)),
    "a base of a later epoch": of_epoch(0, certificate_in_epoch(1, BLOCK, COMMIT)),
    "a base of more than a window": of_epoch(1, *certificates(WINDOW + 1)),
}


@pytest.mark.parametrize("name", GOOD_IN_EPOCH_1)
def test_what_rests_on_this_epoch_or_the_one_before_is_taken(name: str) -> None:
    assert verify(GOOD_IN_EPOCH_1[name], NEXT).message == GOOD_IN_EPOCH_1[name]


@pytest.mark.parametrize("name", BAD_IN_EPOCH_1)
def test_what_mixes_epochs_is_refused(name: str) -> None:
    with pytest.raises(InputError):
        verify(BAD_IN_EPOCH_1[name], NEXT)


def test_two_signatures_for_one_block_are_no_evidence() -> None:
    # Who holds a key can sign one message twice with different bytes; the stand-in scheme cannot.
    credulous = Verification(CHAIN_ID, ORIGIN, validators_of(4), None, lambda *_: True)
    vote = vote_of(PREPARE, 2, HASH)
    again = changed(vote, signature=b"\1" * 64)
    with pytest.raises(InputError):
        verify(Evidence(vote, again), credulous)  # type: ignore[arg-type]  # a vote


# --- what signatures cover

STATEMENTS = {
    "view-change": view_change_of(1, 3, certificates(2), (claim_of(BLOCKS[2], 1),)),
    "new-view": new_view_of(1, *(view_change_of(index, 1) for index in QUORUM)),
}


@pytest.mark.parametrize("tag", STATEMENTS)
def test_a_signature_covers_its_purpose_the_chain_and_every_field(tag: str) -> None:
    message = STATEMENTS[tag]
    assert isinstance(message, ViewChange | NewView)
    signed = message.statement(CHAIN_ID)
    assert signed.startswith(DOMAIN + tag.encode() + b"\0")
    others = {"epoch": 1, "view": 2, "validator": 2, "delivered": (), "claims": (), "view_changes": ()}
    found = {signed, message.statement(batch_of(1))}
    for name in message.__struct_fields__[:-1]:
        found.add(changed(message, **{name: others[name]}).statement(CHAIN_ID))  # type: ignore[attr-defined]  # changed keeps no type
    assert len(found) == len(message.__struct_fields__) + 1


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (new_view_of(0, *(view_change_of(signer, 0) for signer in range(3))), "view out of range"),
        (checkpoint_vote_of(1, 1, 5, leaf_hash(b"x"), time_s=-1), "time out of range"),
        (checkpoint_vote_of(1, 1, 5, leaf_hash(b"x"), time_s=TIME_MS_MAX + 1), "time out of range"),
        (checkpoint_vote_of(1, 1, 0, leaf_hash(b"x")), "size out of range"),
        (checkpoint_vote_of(1, -1, 5, leaf_hash(b"x")), "height out of range"),
    ],
)
def test_numbers_beyond_their_range_are_refused_though_they_are_signed(message: Message, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        verified(message)
