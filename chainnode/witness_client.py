"""The node's side of witnesses: asks each of them to cosign, and adds what they sign to the checkpoints it keeps.

Here: whom to ask when, what went wrong, back-off. It stands beside the node: nothing waits for a witness, and whatever
one does ends as a line of the log and a metric. Not here: the bodies (`chainnode.witness_protocol`), the rows
(`ledger.witnessed`). Source: C2SP tlog-witness.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import aiohttp
import structlog

from chainnode.config import WitnessesSection
from chainnode.metrics import NodeMetrics
from chainnode.witness_protocol import ANSWER_BYTES_MAX, SIZE_TYPE, cosignature_of, parse_size, request_body
from ledger.reader import LedgerReader
from ledger.store import Put
from ledger.witnessed import forgotten_rows, witnessed_by, witnessed_rows
from primitives.errors import ChainError
from primitives.notes import NoteKey, assemble_note, parse_checkpoint, parse_note, parse_vkey, signature_line

ATTEMPTS: Final = 3
"""Requests about one checkpoint: another node may have had a larger one cosigned since the witness named its size."""

BACKOFF_FIRST_S: Final = 1.0
BACKOFF_LONGEST_S: Final = 60.0
ERROR_BYTES_SHOWN: Final = 200
INCONSISTENT: Final = f"http_{HTTPStatus.UNPROCESSABLE_ENTITY:d}"
NOTES_KEPT: Final = 64
"""Checkpoints to which an answer can still be added: a slow witness answers about one of the last minute."""

log = structlog.get_logger("node")


class WitnessFailed(Exception):
    """A witness did not cosign; `reason` is a slug for the metric, the text is for a person."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Target:
    """The checkpoint that is to be cosigned next."""

    size: int
    text: str
    note: str


@dataclass(slots=True)
class Asked:
    """One witness: its key, where it is asked, the size that it cosigned last as far as is known, and its failures."""

    key: NoteKey
    url: str
    size: int = 0
    failures: int = 0
    reason: str = ""
    due: asyncio.Event = field(default_factory=asyncio.Event)


class Witnesses:
    """Asks the witnesses of the settings; owned by the node's loop, in which all of it runs but reading the store."""

    def __init__(
        self,
        settings: WitnessesSection,
        reader: LedgerReader,
        keep: Callable[[list[Put]], None],
        metrics: NodeMetrics,
    ) -> None:
        self._settings = settings
        self._reader = reader
        self._keep = keep
        self._metrics = metrics
        self.asked = [_asked(entry, reader) for entry in settings.ask]
        # Text of a checkpoint to its newest note from the validators, and to the lines of witnesses; oldest first.
        self._notes: dict[str, str] = {}
        self._lines: dict[str, dict[NoteKey, str]] = {}
        self._target: Target | None = None
        self._fresh = asyncio.Event()

    def stable(self, note: str) -> str:
        """Take note of a checkpoint that became stable, or was cosigned anew; returns it with what witnesses signed."""
        if not self.asked:
            return note
        text = parse_note(note).text
        self._notes.pop(text, None)
        self._notes[text] = note
        while len(self._notes) > NOTES_KEPT:
            oldest = next(iter(self._notes))
            del self._notes[oldest]
            self._lines.pop(oldest, None)
        self._target = Target(parse_checkpoint(text).size, text, note)
        self._fresh.set()
        return self._with_lines(text)

    async def run(self) -> None:
        """Ask for as long as the node runs; returns at once where there is no witness to ask."""
        gone = forgotten_rows(self._reader.store, [each.key for each in self.asked])
        if gone:
            self._keep(gone)
        if not self.asked:
            return
        self._recall()
        timeout = aiohttp.ClientTimeout(total=self._settings.timeout_ms / 1_000)
        jar = aiohttp.DummyCookieJar()
        async with (
            aiohttp.ClientSession(timeout=timeout, cookie_jar=jar, auto_decompress=False) as session,
            asyncio.TaskGroup() as tasks,
        ):
            for each in self.asked:
                tasks.create_task(self._follow(session, each), name=f"witness {each.key.name}")
            while True:
                # All are asked about the same checkpoint, so that one note bears them all, and at most so often.
                await self._fresh.wait()
                self._fresh.clear()
                for each in self.asked:
                    each.due.set()
                await asyncio.sleep(self._settings.interval_ms / 1_000)

    def _recall(self) -> None:
        """Begin with the newest checkpoint of the store, and with what witnesses had signed of it."""
        newest = self._reader.checkpoint()
        if newest is None or self._target is not None:
            return
        note = parse_note(newest.note)
        lines = {
            each.key: signature_line(each.key, line.signature)
            for each in self.asked
            if (line := note.signature_by(each.key)) is not None
        }
        own = {(key.name, key.key_id) for key in lines}
        others = [
            f"{line}\n"
            for line, parsed in zip(newest.note[len(note.text) + 1 :].split("\n")[:-1], note.signatures, strict=True)
            if (parsed.name, parsed.key_id) not in own
        ]
        self._lines[note.text] = lines
        self.stable(assemble_note(note.text, others))

    async def _follow(self, session: aiohttp.ClientSession, asked: Asked) -> None:
        while True:
            await asked.due.wait()
            asked.due.clear()
            target = self._target
            assert target is not None, "a witness is due where there is a checkpoint"
            try:
                await self._ask(session, asked, target)
            except WitnessFailed as failed:
                self._failed(asked, failed)
                await asyncio.sleep(min(BACKOFF_LONGEST_S, BACKOFF_FIRST_S * 2.0 ** min(asked.failures - 1, 16)))
                asked.due.set()

    async def _ask(self, session: aiohttp.ClientSession, asked: Asked, target: Target) -> None:
        """Have one checkpoint cosigned; raises WitnessFailed. One that is behind the witness is let go."""
        for _ in range(ATTEMPTS):
            if asked.size > target.size:  # another node's checkpoint was cosigned: a larger one of ours follows
                log.debug("witness_ahead", witness=asked.key.name, size=asked.size, ours=target.size)
                return
            status, kind, answer = await self._post(session, asked, await self._body(asked.size, target))
            if status == HTTPStatus.OK:
                self._cosigned(asked, target, answer)
                return
            if status != HTTPStatus.CONFLICT or kind != SIZE_TYPE:
                raise WitnessFailed(f"http_{status}", answer[:ERROR_BYTES_SHOWN].decode("utf-8", "replace").strip())
            size = _size(answer)
            if size < asked.size:
                log.warning("witness_fell_back", witness=asked.key.name, size=size, had=asked.size)
            asked.size = size
        raise WitnessFailed("conflict", f"another size at each of {ATTEMPTS} attempts, now {asked.size}")

    async def _body(self, old_size: int, target: Target) -> bytes:
        if old_size in (0, target.size):
            return request_body(old_size, (), target.note)
        try:
            proof = await asyncio.to_thread(self._reader.consistency, old_size, target.size)
        except ChainError as error:
            raise WitnessFailed("no_proof", str(error)) from None
        return request_body(old_size, proof.path, target.note)

    async def _post(self, session: aiohttp.ClientSession, asked: Asked, body: bytes) -> tuple[int, str, bytes]:
        """Return status, content type and body of an answer; WitnessFailed where none comes, or a long one."""
        answer = bytearray()
        try:
            async with session.post(f"{asked.url}/add-checkpoint", data=body, allow_redirects=False) as response:
                async for part in response.content.iter_any():
                    answer += part
                    if len(answer) > ANSWER_BYTES_MAX:
                        raise WitnessFailed("too_long", f"more than {ANSWER_BYTES_MAX} bytes")
                return response.status, response.content_type, bytes(answer)
        except TimeoutError:
            raise WitnessFailed("timeout", f"no answer within {self._settings.timeout_ms} ms") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise WitnessFailed("unreachable", str(error) or type(error).__name__) from None

    def _cosigned(self, asked: Asked, target: Target, answer: bytes) -> None:
        """Add a cosignature that verifies to its checkpoint, wherever that is kept."""
        try:
            line, time_s = cosignature_of(target.note, answer, asked.key)
        except ChainError as error:
            raise WitnessFailed("bad_answer", str(error)) from None
        name = asked.key.name
        asked.size = target.size
        self._notes.setdefault(target.text, target.note)
        self._lines.setdefault(target.text, {})[asked.key] = line
        # Whoever cosigned it before and nothing newer since has this fuller note as its newest one too.
        lines = self._lines[target.text]
        signers = [each.key for each in self.asked if each.key in lines and each.size == target.size]
        self._keep(witnessed_rows(self._with_lines(target.text), signers))
        self._metrics.witness_cosignatures.labels(name).inc()
        self._metrics.witness_size.labels(name).set(target.size)
        if asked.failures:
            log.info("witness_back", witness=name, size=target.size, failures=asked.failures)
        asked.failures, asked.reason = 0, ""
        log.debug("witness_cosigned", witness=name, size=target.size, time_s=time_s)

    def _with_lines(self, text: str) -> str:
        return self._notes[text] + "".join(self._lines.get(text, {}).values())

    def _failed(self, asked: Asked, failed: WitnessFailed) -> None:
        """Count a failure, and log it where it is not the one of before; two histories are an alarm."""
        asked.failures += 1
        reason = self._metrics.reason_label(failed.reason, of="witness")
        self._metrics.witness_failures.labels(asked.key.name, reason).inc()
        if failed.reason == asked.reason:
            return
        asked.reason = failed.reason
        if failed.reason == INCONSISTENT:
            log.error("witness_holds_another_history", witness=asked.key.name, size=asked.size, detail=str(failed))
        else:
            log.warning("witness_failing", witness=asked.key.name, reason=failed.reason, detail=str(failed))


def _asked(entry: str, reader: LedgerReader) -> Asked:
    vkey, _, url = entry.partition(" ")
    key = parse_vkey(vkey)
    last = witnessed_by(reader, key)
    return Asked(key, url.strip().rstrip("/"), 0 if last is None else last.size)


def _size(answer: bytes) -> int:
    try:
        return parse_size(answer)
    except ChainError as error:
        raise WitnessFailed("bad_answer", str(error)) from None
