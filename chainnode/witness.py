"""A witness: cosigns the checkpoints of logs that it was told of, each consistent with what it cosigned before.

Here: its directory, what it demands, and the one place where a checkpoint is judged, persisted and only then
cosigned. Not here: HTTP (`chainnode.witness_server`), the bodies (`chainnode.witness_protocol`). Source: C2SP
tlog-witness, tlog-cosignature.

    DIR/witness.key        the key (0600)               DIR/vkey       its name and public key, as policies list it
    DIR/logs/HASH/policy   what the log of this origin's hash must fulfil, a C2SP policy
    DIR/logs/HASH/checkpoint   the latest checkpoint that was cosigned: the log's signatures and ours
    DIR/logs/HASH/forks, unproven   pairs of signed notes that no proof joins: cosigned.note, offered.note; of two roots
                                    of one size also `fork`, which `chainnode audit fork` verifies

Invariant: per origin, what leaves with our signature is on the disk before, its size never falls, and one size has one
root. So this directory is never put back from a backup: who lost it makes a new witness with a new key.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import Final

import structlog

from chainnode.files import NotFound, locked, make_private_directory, read_file, write_file
from chainnode.identity import new_key, read_key, write_key
from chainnode.witness_protocol import AddCheckpoint, head_of, parse_add_checkpoint
from ledger.forks import make_fork
from ledger.policy_epochs import log_key_of
from ledger.trust_policy import NONE, POLICY_SIZE_MAX, TrustPolicy, parse_policy
from primitives.errors import ChainError, InputError, ProofError, StorageError, UsageError
from primitives.merkle import EMPTY_ROOT, verify_consistency
from primitives.notes import (
    COSIGNATURE_TIME_MAX,
    COSIGNATURE_V1,
    NOTE_BYTES_MAX,
    Checkpoint,
    Note,
    NoteKey,
    assemble_note,
    cosign,
    is_key_name,
    parse_note,
    parse_vkey,
    signature_line,
    verify_cosignature,
    verify_log_signature,
)

FORKS_MAX: Final = 64
UNPROVEN_MAX: Final = 16
"""Pairs kept of a log. Two roots of one size are a fork; a proof that does not verify may be a client's mistake."""

VKEY_BYTES_MAX: Final = 4_096
NEW_KEY = "this witness cannot go on: make another, with a new key and name, and let the policies name that"

log = structlog.get_logger("witness")


class Refused(InputError):
    """What is asked cannot be cosigned; `status` is HTTP's, and `size` the latest cosigned one where that was wrong."""

    reason = "witness_refused"

    def __init__(self, status: HTTPStatus, error: str, *, size: int | None = None) -> None:
        super().__init__(error)
        self.status = status
        self.size = size


@dataclass(frozen=True, slots=True)
class Latest:
    """The latest checkpoint cosigned for a log, the time of the cosignature in seconds, and the note that is served."""

    checkpoint: Checkpoint
    time_s: int
    note_text: str


@dataclass(slots=True)
class WitnessedLog:
    """A log that this witness was told of; `lock` is held from judging a checkpoint until it is on the disk."""

    origin: str
    directory: Path
    policy: TrustPolicy
    stamp: tuple[int, int]
    latest: Latest | None
    lock: threading.Lock = field(default_factory=threading.Lock)


class Witness:
    """The witness of a directory; its process must hold `lock`. Methods may be called from several threads."""

    def __init__(self, directory: Path, now_s: Callable[[], int]) -> None:
        self.directory = directory
        self._now_s = now_s
        self._key = read_key(directory / "witness.key", "witness").signing_key
        self.vkey = _read_vkey(directory)
        if self.vkey.public != self._key.public:
            raise UsageError("vkey is of another key", where=str(directory / "vkey"), expected=self._key.public)
        self._logs: dict[str, WitnessedLog] = {}
        self._opening = threading.Lock()

    def add_checkpoint(self, body: bytes) -> str:
        """Return this witness's signature line. Raises Refused, or StorageError where it could not be persisted."""
        try:
            request = parse_add_checkpoint(body)
        except ProofError as error:
            raise Refused(HTTPStatus.BAD_REQUEST, str(error)) from None
        known = self._log(origin_hash(request.checkpoint.origin))
        if known is None or known.origin != request.checkpoint.origin:
            raise Refused(HTTPStatus.NOT_FOUND, "a log that this witness was not told of")
        # Held until the new size is on the disk: a smaller one that was judged before must not be written after it.
        with known.lock:
            return self._cosign(known, request)

    def _cosign(self, known: WitnessedLog, request: AddCheckpoint) -> str:
        lines = _log_lines(known.policy, request)
        _note_rival(known, request)
        lines += _quorum_lines(known.policy, request)
        _check_sizes(known, request)
        _check_history(known, request)
        latest, text = known.latest, request.note.text
        # A clock that was set back must not make a larger log look older.
        time_s = min(max(1, self._now_s(), 0 if latest is None else latest.time_s), COSIGNATURE_TIME_MAX)
        line = cosign(text, self.vkey.name, self._key, time_s)
        note_text = assemble_note(text, [*lines, line])
        try:
            parse_note(note_text)
        except ProofError as error:  # it would not be read back
            raise Refused(HTTPStatus.BAD_REQUEST, str(error)) from None
        write_file(known.directory / "checkpoint", note_text.encode())  # synced before the signature leaves
        known.latest = Latest(request.checkpoint, time_s, note_text)
        return line

    def latest(self, hashed: str) -> str | None:
        """Return the latest cosigned note of the log whose origin has this SHA-256 (hex); None: there is none."""
        known = self._log(hashed)
        return None if known is None or known.latest is None else known.latest.note_text

    def open_all(self) -> list[WitnessedLog]:
        """Return every log of the directory; StorageError where what was cosigned last does not read back."""
        names = sorted(path.parent.name for path in self.directory.glob("logs/*/policy"))
        return [found for name in names if (found := self._log(name)) is not None]

    def _log(self, hashed: str) -> WitnessedLog | None:
        """Return a log by its origin's hash, with the policy as the directory has it now."""
        directory = self.directory / "logs" / hashed
        try:
            state = (directory / "policy").stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError("policy cannot be read", where=str(directory), got=error.strerror or error) from None
        stamp = (state.st_mtime_ns, state.st_ino)
        with self._opening:
            known = self._logs.get(hashed)
            if known is None:
                policy, origin = _read_log_policy(directory)
                latest = _read_latest(directory, origin, self.vkey)
                known = self._logs[hashed] = WitnessedLog(origin, directory, policy, stamp, latest)
            elif known.stamp != stamp:
                self._take_policy(known, stamp)
            return known

    def _take_policy(self, known: WitnessedLog, stamp: tuple[int, int]) -> None:
        """Take another policy for a known log; the former stays where the new one cannot be used."""
        known.stamp = stamp
        try:
            known.policy, _ = _read_log_policy(known.directory)
        except ChainError as error:
            log.error("witness_policy_not_taken", origin=known.origin, error=str(error))
        else:
            log.info("witness_policy", origin=known.origin)


def origin_hash(origin: str) -> str:
    """Return the SHA-256 of a log's origin in lower-case hex, which names it in paths."""
    return sha256(origin.encode()).hexdigest()


def _log_lines(policy: TrustPolicy, request: AddCheckpoint) -> list[str]:
    """Return the signature lines of the log; Refused where there is none, or one that does not verify."""
    note = request.note
    signed = [key for key in trusted_keys(policy, request.checkpoint.origin) if note.signature_by(key) is not None]
    if not signed:
        raise Refused(HTTPStatus.FORBIDDEN, "no signature of a key that is trusted for this log")
    try:
        for key in signed:
            verify_log_signature(note, key)
    except ProofError as error:
        raise Refused(HTTPStatus.FORBIDDEN, str(error)) from None
    return _lines(note, signed)


def _quorum_lines(policy: TrustPolicy, request: AddCheckpoint) -> list[str]:
    """Return the lines of the log's cosigners; Refused where the policy demands more of them.

    One validator's log key is enough to sign as the log: without the quorum, a single one could have another history
    cosigned, and the consortium's own would be refused from then on.
    """
    if policy.quorum == NONE:
        return []
    try:
        policy.check(request.note_text)
    except ProofError as error:
        raise Refused(HTTPStatus.FORBIDDEN, str(error)) from None
    return _verified_cosignatures(request.note, policy, request.checkpoint.origin)


def trusted_keys(policy: TrustPolicy, origin: str) -> list[NoteKey]:
    """Return the keys that may sign as the log: those that the policy lists, and those of every epoch that it lists."""
    keys = dict.fromkeys(policy.logs)
    for span in policy.epochs:
        keys |= dict.fromkeys(log_key_of(origin, validator) for validator in span.validators.validators)
    return [key for key in keys if key.name == origin]


def _verified_cosignatures(note: Note, policy: TrustPolicy, origin: str) -> list[str]:
    chain = origin.rpartition("/")[0]
    keys = dict.fromkeys(policy.witnesses.values())
    for span in policy.epochs:
        keys |= dict.fromkeys(
            NoteKey(f"{chain}/{each.name}", COSIGNATURE_V1, each.cosign_key) for each in span.validators.validators
        )
    found = []
    for key in keys:
        try:
            verify_cosignature(note, key)
        except ProofError:
            continue
        found.append(key)
    return _lines(note, found)


def _lines(note: Note, keys: list[NoteKey]) -> list[str]:
    found = ((key, note.signature_by(key)) for key in keys)
    return [signature_line(key, line.signature) for key, line in found if line is not None]


def _note_rival(known: WitnessedLog, request: AddCheckpoint) -> None:
    """Keep a note that the log signed over another root than the one cosigned at this size, whatever else it lacks."""
    latest, new = known.latest, request.checkpoint
    if latest is not None and latest.checkpoint.size == new.size and latest.checkpoint.root != new.root:
        _keep_pair(known, latest, request)


def _check_sizes(known: WitnessedLog, request: AddCheckpoint) -> None:
    """Refuse a request whose old size is not the latest cosigned one."""
    if request.old_size > request.checkpoint.size:
        error = f"old size {request.old_size} above the checkpoint's, {request.checkpoint.size}"
        raise Refused(HTTPStatus.BAD_REQUEST, error)
    size = 0 if known.latest is None else known.latest.checkpoint.size
    if request.old_size != size:
        raise Refused(HTTPStatus.CONFLICT, f"the latest cosigned size is {size}", size=size)


def _check_history(known: WitnessedLog, request: AddCheckpoint) -> None:
    """Refuse what the proof does not join to the latest cosigned checkpoint, and keep both notes."""
    new, latest = request.checkpoint, known.latest
    try:
        if new.size == 0 and new.root != EMPTY_ROOT:
            raise ProofError("root of the empty tree", expected=EMPTY_ROOT, got=new.root)
        if request.old_size == 0 and request.path:
            raise ProofError("proof from the empty tree", expected="no hashes", got=len(request.path))
        if latest is not None:
            old = latest.checkpoint
            verify_consistency(old.size, old.root, new.size, new.root, request.path)
    except ProofError as error:
        if latest is not None and latest.checkpoint.size != new.size:
            _keep_pair(known, latest, request)
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None


def _keep_pair(known: WitnessedLog, latest: Latest, request: AddCheckpoint) -> None:
    """Keep the cosigned and the offered note side by side, and say so; a full folder takes no more."""
    fork = latest.checkpoint.size == request.checkpoint.size
    folder, limit = ("forks", FORKS_MAX) if fork else ("unproven", UNPROVEN_MAX)
    digest = sha256(request.note.text.encode()).hexdigest()[:16]
    directory = known.directory / folder / f"{request.checkpoint.size}-{digest}"
    offered = directory / "offered.note"
    try:
        if not offered.exists() and (directory.exists() or sum(1 for _ in directory.parent.glob("*")) < limit):
            directory.mkdir(parents=True, exist_ok=True)
            write_file(directory / "cosigned.note", latest.note_text.encode())
            if fork:  # needs no more proof than the two notes
                text = make_fork(latest.note_text, request.note_text, ()).text()
                write_file(directory / "fork", text.encode())
            write_file(offered, request.note_text.encode())
    except (StorageError, OSError) as error:  # the refusal stands all the same
        log.error("witness_pair_not_kept", origin=known.origin, error=str(error))
    tell = log.error if fork else log.warning
    tell(
        "witness_fork" if fork else "witness_unproven",
        origin=known.origin,
        cosigned_size=latest.checkpoint.size,
        offered_size=request.checkpoint.size,
        kept=str(directory) if offered.exists() else "",
    )


# --- the directory


def make_witness(directory: Path, name: str) -> NoteKey:
    """Make a witness's directory and key, and return its public key. UsageError where there is one already."""
    if not is_key_name(name):
        raise UsageError("a key's name", expected="no spaces, plus or control characters", got=name)
    key = new_key("witness")
    vkey = NoteKey(name, COSIGNATURE_V1, bytes.fromhex(key.public))
    if directory.exists() and any(directory.iterdir()):
        raise UsageError("directory is not empty", where=str(directory), hint="a witness begins in a new one")
    make_private_directory(directory)
    make_private_directory(directory / "logs")
    write_key(directory / "witness.key", key)
    write_file(directory / "vkey", f"{vkey.vkey()}\n".encode(), replace=False)
    return vkey


def hold(directory: Path) -> AbstractContextManager[None]:
    """Hold a witness for this process: two that judge at once would cosign two histories."""
    _read_vkey(directory)
    return locked(directory / "lock", "witness")


def add_log(directory: Path, text: str) -> str:
    """Tell a witness, running or not, of a log: by a policy that names it alone; returns the origin.

    A policy of a log that it knows takes the place of the former, and must accept what was cosigned last. Raises
    ProofError, UsageError or StorageError.
    """
    vkey = _read_vkey(directory)
    policy = parse_policy(text)
    origin = _one_origin(policy)
    if any(key.public == vkey.public for key in policy.witnesses.values()):
        raise UsageError(
            "the policy names this very witness",
            where=origin,
            got=vkey.name,
            hint="it would wait for its own cosignature: give it the policy of the validators alone",
        )
    target = directory / "logs" / origin_hash(origin)
    latest = _read_latest(target, origin, vkey)
    if latest is not None:
        note = parse_note(latest.note_text)
        if not any(note.signature_by(key) for key in trusted_keys(policy, origin)):
            raise UsageError(
                "the policy knows no key that signed what was cosigned last",
                where=origin,
                expected="a policy of the same log that lists its earlier epochs too",
            )
    make_private_directory(target)
    write_file(target / "policy", text.encode())
    return origin


def without_quorum(text: str) -> str:
    """Return a policy that takes any signature of a log key, of every epoch that the given one lists."""
    policy = parse_policy(text)
    keys = trusted_keys(policy, _one_origin(policy))
    return "".join(f"log {key.vkey()}\n" for key in keys) + f"quorum {NONE}\n"


def _read_log_policy(directory: Path) -> tuple[TrustPolicy, str]:
    """Return a log's policy and origin. Raises what reading and parsing it raises."""
    path = directory / "policy"
    try:
        policy = parse_policy(read_file(path, size_max=POLICY_SIZE_MAX).decode())
    except UnicodeDecodeError as error:
        raise ProofError("policy is not text", where=str(path), got=f"byte {error.start}") from None
    return policy, _one_origin(policy)


def _one_origin(policy: TrustPolicy) -> str:
    origins = {key.name for key in policy.logs}
    if len(origins) != 1:
        raise ProofError("a witness takes one log a policy", expected="keys of one origin", got=len(origins))
    return origins.pop()


def _read_vkey(directory: Path) -> NoteKey:
    path = directory / "vkey"
    try:
        return parse_vkey(read_file(path, size_max=VKEY_BYTES_MAX).decode("utf-8", "replace").strip())
    except NotFound:
        raise NotFound("not a witness's directory", where=str(directory), hint="chainnode witness init") from None


def _read_latest(directory: Path, origin: str, vkey: NoteKey) -> Latest | None:
    """Return what was cosigned last. StorageError where it does not bear our signature: nothing may be guessed here."""
    path = directory / "checkpoint"
    if not path.exists():
        return None
    try:
        text = read_file(path, size_max=2 * NOTE_BYTES_MAX).decode()
        note = parse_note(text)
        checkpoint, time_s = head_of(note.text), verify_cosignature(note, vkey)
        if checkpoint.origin != origin:
            raise ProofError("checkpoint of another log", expected=origin, got=checkpoint.origin)
    except (UnicodeDecodeError, ChainError) as error:
        raise StorageError("the latest checkpoint is damaged", where=str(path), got=error, hint=NEW_KEY) from None
    return Latest(checkpoint, time_s, text)
