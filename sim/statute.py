"""What must hold of governance in a simulated run, judged block by block by a notary that stands beside the nodes.

The notary executes what honest nodes commit on a chain of its own, so that it has the state before and after each
height, and holds each change of it against the votes that stand in the blocks. It counts them by fractions of its own,
not by the ledger's; what it takes from the ledger are rows and their records. Required of each block:

- every honest node holds the notary's governance rows after it;
- a proposal is decided where the approvals cast by officers of present voters are more than its share, and then at
  once; none below it, and no share below the least of its action;
- what is decided changes what it says and nothing else does: the policy at its height, the rules at theirs, and so on;
- the validators bear as many faults as before, unless the proposal says otherwise in so many words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from hashlib import sha256
from typing import Final

from consensus.invariants import require
from ledger.chain import Chain, CommitResult
from ledger.events import Event
from ledger.genesis import Genesis
from ledger.governance import READY, VOTE, WITHDRAW
from ledger.governance_bodies import (
    Accredit,
    ActivateRules,
    AddCatalogue,
    AddMember,
    AddValidator,
    CastVote,
    ChangePolicy,
    EndAccreditation,
    ExcludeMember,
    Ready,
    RekeyValidator,
    RemoveValidator,
    ReplaceCa,
    SetOfficers,
    SetRoles,
    SetSchemePolicy,
    SetStandards,
    SetThreshold,
    SetVoucherPolicy,
    Withdraw,
    type_of,
)
from ledger.governance_records import Proposal, Stage
from ledger.members import GOVERNANCE_ROLE, Member, read_members, read_validators
from ledger.policy import PLANNED_KEY, POLICY_KEY, policy_figures, read_planned, read_policy
from ledger.rules import RULES_KEY
from ledger.scheme_policy import SCHEME_POLICY_KEY
from ledger.state import MemoryState, StateReader, StateView
from ledger.store import MemoryStore
from ledger.thresholds import THRESHOLDS_KEY, Share, read_thresholds
from ledger.voucher_policy import VOUCHER_POLICY_KEY
from primitives.encoding import decode
from primitives.ids import Height, View
from primitives.votes import COMMIT, QuorumCertificate
from sim.signatures import STAND_IN_KINDS

FRACTIONS: Final = {
    Share.THIRD: Fraction(1, 3),
    Share.MAJORITY: Fraction(1, 2),
    Share.TWO_THIRDS: Fraction(2, 3),
}
LEAST: Final = {
    "add_catalogue": Fraction(1, 2),
    "set_roles": Fraction(1, 2),
    "set_source_roles": Fraction(1, 2),
    "remove_source": Fraction(1, 3),
}
"""The least share of each action whose share may be set (docs/protocol.md); all others are decided by two thirds."""
FIRST: Final = {"add_catalogue": Fraction(1, 2)}
WAITING: Final = (AddValidator, RekeyValidator)
"""Actions that wait for their node once they are approved."""
PREFIXES: Final = (
    b"accreditation/",
    b"catalogue-standards/",
    b"member/",
    b"source/",
    b"old-ca/",
    b"proposal/",
    b"under-way/",
    b"ended/",
    b"catalogue/",
)
KEYS: Final = tuple(
    key.encode() for key in (POLICY_KEY, PLANNED_KEY, RULES_KEY, SCHEME_POLICY_KEY, THRESHOLDS_KEY, "validators")
)
EVENT_BYTES_MAX: Final = 65_536

Rows = dict[bytes, bytes]


class Statute:
    """The notary of one run; `height` is how far it has come."""

    def __init__(self, genesis: Genesis) -> None:
        self._store = MemoryStore()
        self._chain = Chain(self._store, genesis, STAND_IN_KINDS)
        self._rows = governance_rows(self._state)
        self._digests: dict[int, str] = {0: digest_of(self._rows)}
        self._rules: list[tuple[int, int]] = [(0, genesis.rules)]
        self.enacted: list[tuple[int, str]] = []
        """Height and type of each change that was made."""

    @property
    def height(self) -> int:
        """The newest height that an honest node committed."""
        return int(self._chain.height)

    @property
    def _state(self) -> StateView:
        return self._chain.state_after(self._chain.tip_hash)

    def committed(self, name: str, commits: Sequence[CommitResult], chain: Chain) -> None:
        """Take what an honest node committed in one turn, and require that its governance is the notary's."""
        for result in commits:
            if result.header.height > self.height:
                self._notarise(result)
        if commits:
            self.require_same(name, chain)

    def require_same(self, name: str, chain: Chain) -> None:
        """Require that a node's governance after its newest block is the notary's."""
        own = digest_of(governance_rows(chain.state_after(chain.tip_hash)))
        same = own == self._digests.get(int(chain.height))
        require(same, "all honest nodes hold the same governance at each height", (name, chain.height))

    def _notarise(self, result: CommitResult) -> None:
        header = result.header
        require(header.height == self.height + 1, "blocks are committed in order", header.height)
        for batch in result.batches:
            self._store.write(self._chain.add_batch(batch), sync=True)
        block = self._chain.build(
            self._chain.tip_hash,
            time_ms=header.time_ms,
            epoch=header.epoch,
            proposer=header.proposer,
            batches=result.batches,
        )
        require(block.header.hash() == result.block_hash, "what is committed is what execution gives", header.height)
        certificate = QuorumCertificate(COMMIT, header.epoch, View(0), header.height, result.block_hash, ())
        own = self._chain.commit(result.block_hash, certificate)
        self._store.write(own.puts, sync=True)
        self._chain.written(own.ticket)
        before, self._rows = self._rows, governance_rows(self._state)
        self._digests[int(header.height)] = digest_of(self._rows)
        judged = _Block(before, self._rows, header.height, header.time_ms, list(_applied(result)))
        judged.check()
        self._check_rules(judged, header.version)
        self.enacted += [(int(header.height), type_of(item.action)) for item in judged.enacted]

    def _check_rules(self, judged: _Block, version: int) -> None:
        """Require that a block carries the newest version whose height has come, counted from what was decided."""
        expected = next(version for height, version in reversed(self._rules) if height <= judged.height)
        require(version == expected, "rules are in force exactly from their height on", (judged.height, version))
        for item in judged.enacted:
            if isinstance(item.action, ActivateRules):
                self._rules.append((item.action.height, item.action.version))


def governance_rows(state: StateView) -> Rows:
    """Return all rows of a state that say who belongs to the consortium, what is proposed, and by which rules."""
    rows = {key: value for prefix in PREFIXES for key, value in state.raw_scan(prefix)}
    return rows | {key: value for key in KEYS if (value := state.raw(key)) is not None}


def digest_of(rows: Rows) -> str:
    """Return a hash of rows."""
    return sha256(b"".join(key + b"\0" + rows[key] for key in sorted(rows))).hexdigest()


def _applied(result: CommitResult) -> Iterator[tuple[bytes, Event]]:
    """Yield id and content of the block's governance events that were applied."""
    events = (raw for batch in result.batches for raw in batch.event_bytes)
    for event_id, raw, outcome in zip(result.event_ids, events, result.outcomes, strict=True):
        if outcome.applied:
            event = decode(Event, raw, size_max=EVENT_BYTES_MAX)
            if event.kind in (VOTE, READY, WITHDRAW):
                yield event_id, event


class _Block:
    """One block: the governance before and after it, and what was said in it."""

    def __init__(
        self, before: Rows, after: Rows, height: Height, time_ms: int, events: Sequence[tuple[bytes, Event]]
    ) -> None:
        self.before, self.after = (StateView(MemoryState(rows)) for rows in (before, after))
        self.height, self.time_ms = int(height), time_ms
        self.events = events
        self._changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
        self._old, self._new = (_proposals(rows) for rows in (before, after))
        self.enacted = [
            item
            for key, item in self._new.items()
            if item.stage is Stage.ENACTED and (key not in self._old or self._old[key].stage is not Stage.ENACTED)
        ]

    def check(self) -> None:
        """Require all that the module says of this block."""
        if not self._changed and not self._old:
            return
        cast = self._cast()
        for key, new in self._new.items():
            self._check_votes(key, new, cast)
            self._check_stage(key, new)
        self._check_policy()
        self._check_validators()
        self._check_others()

    # --- votes

    def _cast(self) -> dict[bytes, tuple[set[str], set[str]]]:
        """Return who approved and who rejected what in this block, by the officers that signed."""
        known = [_officers(state) for state in (self.before, self.after)]
        cast: dict[bytes, tuple[set[str], set[str]]] = {}
        for _, event in self.events:
            if event.kind == VOTE:
                body = decode(CastVote, event.body, size_max=EVENT_BYTES_MAX)
                voter = known[0].get(body.officer) or known[1].get(body.officer)
                require(voter is not None, "only an officer of a member votes", body.officer.hex())
                assert voter is not None
                cast.setdefault(body.proposal, (set(), set()))[0 if body.approve else 1].add(voter)
        return cast

    def _check_votes(self, key: bytes, new: Proposal, cast: dict[bytes, tuple[set[str], set[str]]]) -> None:
        old = self._old.get(key)
        approved, rejected = cast.get(key, (set(), set()))
        wanted = (
            approved | set(old.approvals if old else ()),
            rejected | set(old.rejections if old else ()),
        )
        held = (set(new.approvals), set(new.rejections))
        require(held == wanted, "a proposal has the votes that were cast for and against it", (self.height, held))

    @property
    def _electorates(self) -> int:
        """How many changes of who votes, or of the shares, one after the other, this block may hold."""
        return len(self._enacted(AddValidator, RemoveValidator, SetThreshold))

    def _check_stage(self, key: bytes, new: Proposal) -> None:
        old = self._old.get(key)
        was = Stage.OPEN if old is None else old.stage
        if was not in (Stage.OPEN, Stage.APPROVED):
            require(new == old, "what has ended stays as it ended", (self.height, key.hex()))
            return
        if was is not new.stage:
            require(new.expires_ms >= self.time_ms, "nothing is decided after its end", (self.height, key.hex()))
            closed = new.stage is Stage.APPROVED or new.closed_height == self.height
            require(closed, "a proposal ends at the height of the block that ends it", (self.height, key.hex()))
        said = [(event.kind, _subject(event)) for _, event in self.events]
        match new.stage:
            case Stage.WITHDRAWN:
                require((WITHDRAW, key) in said, "only who proposed it takes a proposal back", self.height)
            case Stage.OPEN if new.expires_ms >= self.time_ms:
                passes, hopeless = self._verdict(new, self.after)
                require(not passes and not hopeless, "what is decided does not stay open", (self.height, key.hex()))
            case Stage.REFUSED:
                fits = self._fits(new, 1)
                require(fits, "a proposal is refused where it is out of reach", (self.height, key.hex()))
            case Stage.APPROVED | Stage.ENACTED | Stage.FAILED if was is Stage.OPEN:
                fits = self._fits(new, 0)
                require(fits, "a proposal passes by more than its share of the voters", (self.height, key.hex()))
            case _:
                pass
        if new.stage is Stage.ENACTED and isinstance(new.action, WAITING):
            require((READY, key) in said, "a node votes once it has said that it is ready", (self.height, key.hex()))

    def _fits(self, new: Proposal, which: int) -> bool:
        """Say whether a verdict is that of the voters before or after the block; any may stand between two changes."""
        judged = any(self._verdict(new, state)[which] for state in (self.before, self.after))
        return judged or self._electorates > 1

    def _verdict(self, proposal: Proposal, state: StateReader) -> tuple[bool, bool]:
        """Return whether a proposal passes, and whether it is out of reach, by the voters and shares of a state."""
        voters = {str(validator.member) for validator in read_validators(state).validators}
        share = share_of(state, type_of(proposal.action))
        passes = Fraction(len(voters & set(proposal.approvals)), len(voters)) > share
        reachable = Fraction(len(voters - set(proposal.rejections)), len(voters)) > share
        return passes, not reachable

    # --- what comes of it

    def _enacted(self, *types: type) -> list[Proposal]:
        return [item for item in self.enacted if isinstance(item.action, types)]

    def _check_policy(self) -> None:
        """Require that a figure changes at its height, to what was decided, and at no other."""
        planned = read_planned(self.before)
        expected = policy_figures(read_policy(self.before))
        if planned is not None and planned.height <= self.height + 1:
            expected = policy_figures(planned.policy)
        made = self._enacted(ChangePolicy)
        if len(made) > 1:
            return  # they compose in the order of their votes; each was counted above
        for item in made:
            action = item.action
            assert isinstance(action, ChangePolicy)
            figures = {figure.name: figure.value for figure in action.figures}
            if action.height <= self.height + 1:
                expected |= figures
            else:
                later = read_planned(self.after)
                due = later is not None and later.height == action.height
                require(due, "a policy waits for the height that was decided", (self.height, action.height))
        found = policy_figures(read_policy(self.after))
        require(found == expected, "the policy changes as decided, exactly at its height", (self.height, found))
        later = read_planned(self.after)
        waits = later is None or later.height > self.height + 1
        require(waits, "no policy waits beyond its height", (self.height, later))

    def _check_validators(self) -> None:
        old, new = read_validators(self.before), read_validators(self.after)
        made = self._enacted(AddValidator, RemoveValidator, RekeyValidator)
        require(bool(made) == (old != new), "validators change by what was decided alone", (self.height, new.epoch))
        if new.f < old.f or new.n < min(4, old.n):
            said = any(isinstance(item.action, RemoveValidator) and item.action.fewer_faults for item in made)
            least = said and new.n >= 4
            require(least, "no change leaves a set that bears fewer faults unless it says so", (self.height, new.n))

    def _check_others(self) -> None:
        """Require that other rows change only where something was decided that changes rows of their kind."""
        causes: tuple[tuple[bytes, tuple[type, ...]], ...] = (
            (RULES_KEY.encode(), (ActivateRules,)),
            (THRESHOLDS_KEY.encode(), (SetThreshold,)),
            (b"catalogue/", (AddCatalogue,)),
            (b"accreditation/", (Accredit, EndAccreditation)),
            (b"catalogue-standards/", (SetStandards,)),
            (SCHEME_POLICY_KEY.encode(), (SetSchemePolicy,)),
            (VOUCHER_POLICY_KEY.encode(), (SetVoucherPolicy,)),
            (b"old-ca/", (ReplaceCa, ExcludeMember)),
            (b"member/", (AddMember, ExcludeMember, SetRoles, SetOfficers, ReplaceCa)),
        )
        for prefix, types in causes:
            touched = [key for key in self._changed if key.startswith(prefix)]
            allowed = not touched or bool(self._enacted(*types))
            require(allowed, "nothing of governance changes unless it was decided", (self.height, touched))
        for item in self._enacted(SetRoles):
            action = item.action
            assert isinstance(action, SetRoles)
            row = self.after.get(f"member/{action.member}", Member)
            others = [each for each in self._enacted(SetRoles) if _of(each) == action.member]
            done = len(others) > 1 or (row is not None and row.roles == action.roles)
            require(done, "a member has the roles that were decided", (self.height, action.member))
        for action_type, share in ((item.action, item.share) for item in read_thresholds(self.after).set):
            least = action_type in LEAST and FRACTIONS[share] >= LEAST[action_type]
            require(least, "no share is below the least of its action", (self.height, action_type, share))


def share_of(state: StateReader, action_type: str) -> Fraction:
    """Return the share that decides on a type of action, by the row of the state and the documented least shares."""
    if action_type not in LEAST:
        return FRACTIONS[Share.TWO_THIRDS]
    chosen = [item.share for item in read_thresholds(state).set if item.action == action_type]
    return FRACTIONS[chosen[0]] if chosen else FIRST.get(action_type, FRACTIONS[Share.TWO_THIRDS])


def _proposals(rows: Rows) -> dict[bytes, Proposal]:
    prefix = b"proposal/"
    return {
        bytes.fromhex(key.removeprefix(prefix).decode()): decode(Proposal, value, size_max=1 << 20)
        for key, value in rows.items()
        if key.startswith(prefix)
    }


def _officers(state: StateReader) -> dict[bytes, str]:
    members: Iterable[Member] = read_members(state)
    return {
        officer.key: str(member.id)
        for member in members
        for officer in member.officers
        if officer.role == GOVERNANCE_ROLE
    }


def _subject(event: Event) -> bytes:
    """Return the proposal that a vote, a word of readiness or a withdrawal is about."""
    if event.kind == READY:
        return decode(Ready, event.body, size_max=EVENT_BYTES_MAX).proposal
    if event.kind == WITHDRAW:
        return decode(Withdraw, event.body, size_max=EVENT_BYTES_MAX).proposal
    return decode(CastVote, event.body, size_max=EVENT_BYTES_MAX).proposal


def _of(item: Proposal) -> str:
    return str(getattr(item.action, "member", ""))
