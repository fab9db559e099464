"""Verifying an archive offline, without a node or its store: from the bytes of its files to signed checkpoints.

Every segment is read whole (`ledger.archive`), the source's signature of each batch is verified, the blocks must follow
each other from segment to segment and, with a genesis, from its block on; with a policy the last block of every run of
segments is proved in the log of a checkpoint that the policy accepts. Here: that walk and its report.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from chainnode.archive_files import ArchiveDirectory, DirectoryDisk, manifest_of
from ledger.archive import ArchiveDamaged, SegmentContent, SegmentEntry, follows, judge_signature
from ledger.chain_rows import genesis_block
from ledger.genesis import Genesis
from ledger.trust_policy import TrustPolicy, parse_policy
from primitives.block import BlockHeader
from primitives.errors import ChainError, ProofError
from primitives.merkle import verify_inclusion

R = TypeVar("R")


@dataclass(slots=True)
class ArchiveReport:
    """What was found good, and the first thing that is not; `checkpoints` were accepted by the policy."""

    chain_id: str
    segments: int = 0
    first_height: int = 0
    last_height: int = 0
    blocks: int = 0
    batches: int = 0
    events: int = 0
    body_bytes: int = 0
    segment_bytes: int = 0
    checkpoints: int = 0
    from_genesis: bool = False
    gaps: int = 0
    problem: str = ""

    def as_row(self) -> dict[str, Any]:  # Any: JSON values
        """Return the report as JSON has it."""
        return {"ok": not self.problem, **asdict(self), "problem": self.problem or None}


def check_archive(
    path: Path, genesis: Genesis | None, policy_text: str | None, *, step: Callable[[str], None] = lambda _: None
) -> ArchiveReport:
    """Verify all segments that an archive lists. What is wrong ends the walk and stands in the report.

    Raises `NotFound` where there is no archive, and ProofError for a policy that is none.
    """
    policy = None if policy_text is None else parse_policy(policy_text)
    report = ArchiveReport("")
    try:
        manifest = manifest_of(DirectoryDisk(path), str(path))
        report.chain_id = manifest.chain_id.hex()
        if genesis is not None and genesis.chain_id != manifest.chain_id:
            raise ArchiveDamaged("archive of another chain", expected=genesis.chain_id, got=manifest.chain_id)
        directory = ArchiveDirectory.at(path, manifest.chain_id)
        walk = _Walk(report, genesis, policy)
        for entry in manifest.segments:
            content = driven(directory.verify(entry, judge_signature), lambda: step(entry.name))  # noqa: B023  called at once
            walk.add(entry, content)
        walk.end()
    except (ArchiveDamaged, ProofError) as error:
        report.problem = str(error)
    return report


def driven(steps: Generator[object, None, R], tell: Callable[[], None]) -> R:
    """Return what steps return at their end; `tell` is called after each."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: R = end.value
            return result
        tell()


class _Walk:
    """Goes from segment to segment, ascending; segments that archives of several nodes hold in common may overlap."""

    def __init__(self, report: ArchiveReport, genesis: Genesis | None, policy: TrustPolicy | None) -> None:
        self._report = report
        self._genesis = genesis
        self._policy = policy
        self._known: dict[int, BlockHeader] = {}  # of the segment before
        self._first: BlockHeader | None = None if genesis is None else genesis_block(genesis)[0].header
        self._below: BlockHeader | None = None
        self._proved = True
        self._last = ""

    def add(self, entry: SegmentEntry, content: SegmentContent) -> None:
        """Join a segment to those before it, and prove its end."""
        report, first = self._report, content.blocks[0].header
        below = self._first if first.height == 1 else self._known.get(first.height - 1, self._below)
        if below is not None and first.height == below.height + 1:
            if not follows(below, first):
                raise ArchiveDamaged(
                    "does not follow what lies before it", where=f"segment {entry.name}", expected=below.hash(),
                    got=first.parent,
                )  # fmt: skip
            report.from_genesis |= self._genesis is not None and first.height == 1
        else:
            self.end()
            report.gaps += first.height != 1
        self._below = content.blocks[-1].header
        self._known = {block.header.height: block.header for block in content.blocks}
        self._last = entry.name
        self._proved = self._prove(entry, content)
        self._count(entry)

    def end(self) -> None:
        """Raise ProofError where a policy was given and no checkpoint covers the last block of a run."""
        if self._policy is not None and not self._proved:
            raise ProofError("no signed checkpoint covers it", where=f"segment {self._last}")

    def _prove(self, entry: SegmentEntry, content: SegmentContent) -> bool:
        anchor, header = content.index.anchor, content.blocks[-1].header
        if anchor is None or self._policy is None:
            return False
        try:
            checkpoint = self._policy.check(anchor.note).checkpoint
            index = header.first_index + header.event_count
            verify_inclusion(checkpoint.root, checkpoint.size, index, header.hash(), anchor.path)
        except ChainError as error:
            raise ProofError("its checkpoint does not hold", where=f"segment {entry.name}", got=error) from None
        self._report.checkpoints += 1
        return True

    def _count(self, entry: SegmentEntry) -> None:
        report = self._report
        report.first_height = entry.first_height if not report.segments else report.first_height
        report.last_height = max(report.last_height, entry.last_height)
        report.segments += 1
        report.blocks += entry.last_height - entry.first_height + 1
        report.batches += entry.batches
        report.events += entry.events
        report.body_bytes += entry.body_bytes
        report.segment_bytes += entry.size
