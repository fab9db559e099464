"""A witness: what it cosigns, what it refuses with which status, and what is on its disk before it answers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path

import aiohttp
import pytest
import structlog

from chainnode import witness as module
from chainnode.files import Busy
from chainnode.witness import (
    FORKS_MAX,
    UNPROVEN_MAX,
    Refused,
    Witness,
    add_log,
    hold,
    make_witness,
    origin_hash,
    without_quorum,
)
from chainnode.witness_protocol import (
    PROOF_LINES_MAX,
    REQUEST_BYTES_MAX,
    cosignature_of,
    parse_add_checkpoint,
    request_body,
)
from chainnode.witness_server import WitnessServer, WitnessSettings
from ledger.forks import Contradiction, verify_fork
from primitives.errors import ChainError, ProofError, StorageError, UsageError
from primitives.hashing import leaf_hash
from primitives.ids import Hash
from primitives.keys import SigningKey
from primitives.merkle import EMPTY_ROOT, consistency_path, root_of
from primitives.notes import (
    COSIGNATURE_V1,
    ED25519,
    NOTE_BYTES_MAX,
    Checkpoint,
    NoteKey,
    assemble_note,
    cosign,
    parse_note,
    sign_note,
    verify_cosignature,
    verify_log_signature,
)
from tests.ledger.test_proofs_over_epochs import Story

ORIGIN = "log.example/one"
LOG = SigningKey(sha256(b"log").digest())
LOG_KEY = NoteKey(ORIGIN, ED25519, LOG.public)
NOW_S = 1_790_000_000
LEAVES = [leaf_hash(bytes([i])) for i in range(200)]
OTHERS = [leaf_hash(bytes([i, 1])) for i in range(200)]


def note(size: int, leaves: list[Hash] = LEAVES, *, key: SigningKey = LOG, extra: str = "") -> str:
    text = Checkpoint(ORIGIN, size, root_of(leaves[:size])).text() + extra
    return assemble_note(text, [sign_note(text, ORIGIN, key)])


def request(old: int, new: int, leaves: list[Hash] = LEAVES, **fields: object) -> bytes:
    path = [] if old in (0, new) else consistency_path(leaves[:new], old)
    return request_body(old, path, note(new, leaves, **fields))  # type: ignore[arg-type]  # the fields of note


@dataclass
class Clock:
    now_s: int = NOW_S


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "witness"
    make_witness(made, "regulator.example/w1")
    add_log(made, f"log {LOG_KEY.vkey()}\nquorum none\n")
    return made


@pytest.fixture
def witness(directory: Path, clock: Clock) -> Witness:
    return Witness(directory, lambda: clock.now_s)


def refused(witness: Witness, body: bytes) -> Refused:
    with pytest.raises(Refused) as caught:
        witness.add_checkpoint(body)
    return caught.value


def on_disk(directory: Path) -> str:
    return (directory / "logs" / origin_hash(ORIGIN) / "checkpoint").read_text()


def test_a_witness_cosigns_one_history_and_its_key_is_private(directory: Path, witness: Witness) -> None:
    assert (directory / "witness.key").stat().st_mode & 0o777 == 0o600
    for old, new in ((0, 7), (7, 7), (7, 64), (64, 199)):
        line = witness.add_checkpoint(request(old, new))
        told, time_s = cosignature_of(note(new), line.encode(), witness.vkey)
        assert (told, time_s) == (line, NOW_S)
    kept = parse_note(on_disk(directory))
    verify_log_signature(kept, LOG_KEY)
    assert verify_cosignature(kept, witness.vkey) == NOW_S
    assert witness.latest(origin_hash(ORIGIN)) == on_disk(directory)


def test_a_second_witness_is_not_made_over_the_first(directory: Path) -> None:
    with pytest.raises(UsageError, match="not empty"):
        make_witness(directory, "other")


MALFORMED: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "no size": lambda: b"\n\n" + note(3).encode(),
    "zeros": lambda: b"old 00\n\n" + note(3).encode(),
    "spaces": lambda: b"old  0\n\n" + note(3).encode(),
    "sign": lambda: b"old -1\n\n" + note(3).encode(),
    "carriage return": lambda: b"old 0\r\n\n" + note(3).encode(),
    "no empty line": lambda: b"old 0\n" + note(3).encode(),
    "short hash": lambda: b"old 0\nAAAA\n\n" + note(3).encode(),
    "hash not in base64": lambda: b"old 0\n" + b"!" * 44 + b"\n\n" + note(3).encode(),
    "too many hashes": lambda: request_body(1, [Hash(bytes(32))] * (PROOF_LINES_MAX + 1), note(3)),
    "no signature": lambda: b"old 0\n\n" + note(3).encode().split(b"\n\n")[0] + b"\n",
    "not UTF-8": lambda: b"old 0\n\n\xff" + note(3).encode(),
    "too large": lambda: request(0, 3) + b"x" * REQUEST_BYTES_MAX,
    "size with zeros": lambda: request(0, 3).replace(b"\n3\n", b"\n03\n"),
    "old size above": lambda: request_body(4, [], note(3)),
    "a note that could not be stored": lambda: request(0, 3, extra="x" * (NOTE_BYTES_MAX - 300) + "\n"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_what_is_malformed_is_a_bad_request(case: str, witness: Witness, directory: Path) -> None:
    assert refused(witness, MALFORMED[case]()).status == HTTPStatus.BAD_REQUEST
    assert not (directory / "logs" / origin_hash(ORIGIN) / "checkpoint").exists()


def test_the_most_hashes_that_a_client_may_send_are_read() -> None:
    body = request_body(1, [Hash(bytes(32))] * PROOF_LINES_MAX, note(3))
    assert len(parse_add_checkpoint(body).path) == PROOF_LINES_MAX


def test_a_log_that_it_was_not_told_of_is_not_found(witness: Witness) -> None:
    text = Checkpoint("log.example/two", 3, root_of(LEAVES[:3])).text()
    body = request_body(0, [], assemble_note(text, [sign_note(text, "log.example/two", LOG)]))
    assert refused(witness, body).status == HTTPStatus.NOT_FOUND


def test_no_signature_of_a_trusted_key_is_forbidden_and_unknown_keys_are_ignored(witness: Witness) -> None:
    stranger = SigningKey(sha256(b"stranger").digest())
    assert refused(witness, request(0, 3, key=stranger)).status == HTTPStatus.FORBIDDEN
    text = Checkpoint(ORIGIN, 3, root_of(LEAVES[:3])).text()
    lines = [sign_note(text, ORIGIN, stranger), sign_note(text, ORIGIN, LOG)]
    line = witness.add_checkpoint(request_body(0, [], assemble_note(text, lines)))
    assert cosignature_of(note(3), line.encode(), witness.vkey)
    kept = witness.latest(origin_hash(ORIGIN))
    assert kept is not None
    assert lines[0] not in kept


def test_a_trusted_keys_signature_that_does_not_verify_is_forbidden(witness: Witness) -> None:
    text = Checkpoint(ORIGIN, 3, root_of(LEAVES[:3])).text()
    other = sign_note(Checkpoint(ORIGIN, 4, root_of(LEAVES[:4])).text(), ORIGIN, LOG)
    assert refused(witness, request_body(0, [], assemble_note(text, [other]))).status == HTTPStatus.FORBIDDEN


def test_another_old_size_is_a_conflict_that_names_the_latest(witness: Witness) -> None:
    assert refused(witness, request(3, 7)).size == 0
    witness.add_checkpoint(request(0, 7))
    for old, new in ((0, 9), (5, 9), (8, 9), (0, 7), (3, 5)):
        error = refused(witness, request(old, new))
        assert (error.status, error.size) == (HTTPStatus.CONFLICT, 7)


def test_an_empty_tree_has_its_root_and_no_proof_stands_before_the_first(witness: Witness) -> None:
    text = Checkpoint(ORIGIN, 0, Hash(bytes(32))).text()
    wrong = request_body(0, [], assemble_note(text, [sign_note(text, ORIGIN, LOG)]))
    assert refused(witness, wrong).status == HTTPStatus.UNPROCESSABLE_ENTITY
    assert refused(witness, request_body(0, [LEAVES[0]], note(3))).status == HTTPStatus.UNPROCESSABLE_ENTITY
    text = Checkpoint(ORIGIN, 0, EMPTY_ROOT).text()
    witness.add_checkpoint(request_body(0, [], assemble_note(text, [sign_note(text, ORIGIN, LOG)])))
    assert witness.add_checkpoint(request(0, 3))


@pytest.mark.parametrize("new", [7, 8, 12, 199])
def test_a_fork_is_refused_and_kept_as_two_notes(new: int, witness: Witness, directory: Path) -> None:
    witness.add_checkpoint(request(0, 7))
    with structlog.testing.capture_logs() as logs:
        assert refused(witness, request(7, new, OTHERS)).status == HTTPStatus.UNPROCESSABLE_ENTITY
    folder = "forks" if new == 7 else "unproven"
    (pair,) = (directory / "logs" / origin_hash(ORIGIN) / folder).iterdir()
    cosigned, offered = (parse_note((pair / f"{name}.note").read_text()) for name in ("cosigned", "offered"))
    for each in (cosigned, offered):
        verify_log_signature(each, LOG_KEY)
    assert offered.text == parse_note(note(new, OTHERS)).text
    assert [line["event"] for line in logs] == ["witness_fork" if new == 7 else "witness_unproven"]
    assert witness.add_checkpoint(request(7, 9))


def test_another_root_of_the_cosigned_size_is_kept_whatever_the_request_lacks(
    witness: Witness, directory: Path
) -> None:
    witness.add_checkpoint(request(0, 7))
    assert refused(witness, request(0, 7, OTHERS)).status == HTTPStatus.CONFLICT
    assert len(list((directory / "logs" / origin_hash(ORIGIN) / "forks").iterdir())) == 1


def test_two_roots_of_one_size_are_kept_as_the_proof_that_anybody_verifies(witness: Witness, directory: Path) -> None:
    add_log(directory, DEMANDING)
    first, second = (each + cosign(parse_note(each).text, "a", COSIGNER, NOW_S) for each in (note(7), note(7, OTHERS)))
    witness.add_checkpoint(request_body(0, [], first))
    assert refused(witness, request_body(7, [], second)).status == HTTPStatus.UNPROCESSABLE_ENTITY
    (kept,) = (directory / "logs" / origin_hash(ORIGIN) / "forks").glob("*/fork")
    verdict = verify_fork(kept.read_text(), DEMANDING)
    assert (verdict.contradiction, verdict.accused) == (Contradiction.ONE_SIZE, ("a",))
    assert [each.checkpoint.root for each in (verdict.first, verdict.second)] == [
        root_of(leaves[:7]) for leaves in (LEAVES, OTHERS)
    ]


def test_what_one_log_key_alone_forked_accuses_nobody_under_a_quorum(witness: Witness, directory: Path) -> None:
    witness.add_checkpoint(request(0, 7))
    refused(witness, request(7, 7, OTHERS))
    (kept,) = (directory / "logs" / origin_hash(ORIGIN) / "forks").glob("*/fork")
    assert verify_fork(kept.read_text(), f"log {LOG_KEY.vkey()}\nquorum none\n").accused == ()
    with pytest.raises(ProofError, match="the first note"):
        verify_fork(kept.read_text(), DEMANDING)


def test_pairs_that_are_kept_are_bounded_and_proven_forks_have_room_of_their_own(
    witness: Witness, directory: Path
) -> None:
    witness.add_checkpoint(request(0, 7))
    for size in range(8, 8 + 2 * UNPROVEN_MAX):
        refused(witness, request(7, size, OTHERS))
    for number in range(FORKS_MAX + 3):
        text = Checkpoint(ORIGIN, 7, leaf_hash(bytes([number, 2]))).text()
        refused(witness, request_body(7, [], assemble_note(text, [sign_note(text, ORIGIN, LOG)])))
    kept = directory / "logs" / origin_hash(ORIGIN)
    assert len(list((kept / "unproven").iterdir())) == UNPROVEN_MAX
    assert len(list((kept / "forks").iterdir())) == FORKS_MAX


def test_every_changed_hash_of_a_proof_is_refused(witness: Witness) -> None:
    witness.add_checkpoint(request(0, 7))
    path = consistency_path(LEAVES[:100], 7)
    for place in range(len(path)):
        changed = [*path[:place], leaf_hash(path[place]), *path[place + 1 :]]
        assert refused(witness, request_body(7, changed, note(100))).status == HTTPStatus.UNPROCESSABLE_ENTITY
    for wrong in (path[:-1], [*path, path[0]], path[1:], []):
        assert refused(witness, request_body(7, wrong, note(100))).status == HTTPStatus.UNPROCESSABLE_ENTITY
    assert witness.add_checkpoint(request_body(7, path, note(100)))


def test_extension_lines_are_cosigned_with_the_rest(witness: Witness) -> None:
    body = request(0, 3, extra="more\nlines\n")
    line = witness.add_checkpoint(body)
    assert cosignature_of(note(3, extra="more\nlines\n"), line.encode(), witness.vkey)
    with pytest.raises(ProofError):
        cosignature_of(note(3), line.encode(), witness.vkey)


def test_the_time_of_a_cosignature_never_falls_and_is_never_zero(witness: Witness, clock: Clock) -> None:
    first = witness.add_checkpoint(request(0, 3))
    clock.now_s -= 5_000
    line = witness.add_checkpoint(request(3, 9))
    assert cosignature_of(note(9), line.encode(), witness.vkey)[1] == NOW_S
    assert cosignature_of(note(3), first.encode(), witness.vkey)[1] == NOW_S


def test_a_clock_at_zero_does_not_make_a_cosignature_without_a_time(witness: Witness, clock: Clock) -> None:
    clock.now_s = 0
    assert cosignature_of(note(3), witness.add_checkpoint(request(0, 3)).encode(), witness.vkey)[1] == 1


def test_a_restart_goes_on_from_what_was_cosigned(directory: Path, witness: Witness) -> None:
    witness.add_checkpoint(request(0, 7))
    again = Witness(directory, lambda: NOW_S - 99)
    assert refused(again, request(0, 9)).size == 7
    assert cosignature_of(note(9), again.add_checkpoint(request(7, 9)).encode(), again.vkey)[1] == NOW_S


def test_nothing_leaves_that_the_disk_does_not_hold(
    directory: Path, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    witness.add_checkpoint(request(0, 3))

    def full(path: Path, data: bytes, **_: object) -> None:
        raise StorageError("no space", where=str(path))

    monkeypatch.setattr(module, "write_file", full)
    with pytest.raises(StorageError):
        witness.add_checkpoint(request(3, 7))
    monkeypatch.undo()
    assert refused(witness, request(7, 9)).size == 3
    assert "\n3\n" in on_disk(directory)


def test_two_requests_at_once_never_roll_the_log_back(
    directory: Path, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The race of C2SP tlog-witness: N is judged, N+K is judged, N+K is stored, then N."""
    witness.add_checkpoint(request(0, 3))
    entered, go_on = threading.Event(), threading.Event()
    real = module.write_file

    def slow(path: Path, data: bytes, **fields: object) -> None:
        if b"\n7\n" in data:
            entered.set()
            assert go_on.wait(10)
        real(path, data, **fields)  # type: ignore[arg-type]  # those of write_file

    monkeypatch.setattr(module, "write_file", slow)
    answers: dict[int, object] = {}

    def ask(new: int) -> None:
        try:
            answers[new] = witness.add_checkpoint(request(3, new))
        except Refused as error:
            answers[new] = (error.status, error.size)

    first = threading.Thread(target=ask, args=(7,))
    first.start()
    assert entered.wait(10)
    second = threading.Thread(target=ask, args=(9,))
    second.start()
    second.join(0.2)
    assert 9 not in answers  # it waits for the first, judged and stored as one
    go_on.set()
    first.join(10)
    second.join(10)
    assert isinstance(answers[7], str)
    assert answers[9] == (HTTPStatus.CONFLICT, 7)
    assert "\n7\n" in on_disk(directory)


@pytest.mark.parametrize("damage", ["empty", "cut", "other log", "unsigned"])
def test_a_damaged_record_of_what_was_cosigned_stops_the_witness(
    damage: str, directory: Path, witness: Witness
) -> None:
    witness.add_checkpoint(request(0, 7))
    path = directory / "logs" / origin_hash(ORIGIN) / "checkpoint"
    text = path.read_text()
    key = SigningKey(bytes.fromhex(json.loads((directory / "witness.key").read_text())["seed"]))
    elsewhere = Checkpoint("log.example/two", 3, root_of(LEAVES[:3])).text()
    path.write_text(
        {
            "empty": "",
            "cut": text[:-9],
            "other log": assemble_note(elsewhere, [cosign(elsewhere, witness.vkey.name, key, NOW_S)]),
            "unsigned": note(7),
        }[damage]
    )
    with pytest.raises(StorageError, match="latest checkpoint is damaged"):
        Witness(directory, lambda: NOW_S).open_all()


def test_only_one_process_holds_a_witness(directory: Path) -> None:
    with hold(directory), pytest.raises(Busy), hold(directory):
        pass


KILLED = """
import sys, os, signal
from pathlib import Path
from chainnode import witness as module
real = module.write_file
def write(path, data, **fields):
    real(path, data, **fields)
    os.kill(os.getpid(), signal.SIGKILL)  # between the disk and the answer
module.write_file = write
found = module.Witness(Path(sys.argv[1]), lambda: 1_790_000_000)
print(found.add_checkpoint(sys.stdin.buffer.read()))
"""


def test_a_witness_killed_between_disk_and_answer_stands_by_what_it_wrote(directory: Path, witness: Witness) -> None:
    witness.add_checkpoint(request(0, 3))
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(directory)],
        input=request(3, 7),
        capture_output=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert ended.returncode == -signal.SIGKILL
    assert ended.stdout == b""
    again = Witness(directory, lambda: NOW_S)
    assert refused(again, request(3, 9, OTHERS)).size == 7
    assert refused(again, request(7, 7, OTHERS)).status == HTTPStatus.UNPROCESSABLE_ENTITY
    assert again.add_checkpoint(request(7, 7))


# --- telling it of logs


def test_a_running_witness_takes_up_a_log_and_a_newer_policy(directory: Path, witness: Witness) -> None:
    witness.add_checkpoint(request(0, 3))
    second = SigningKey(sha256(b"second").digest())
    assert refused(witness, request(3, 7, key=second)).status == HTTPStatus.FORBIDDEN
    keys = "".join(f"log {NoteKey(ORIGIN, ED25519, key.public).vkey()}\n" for key in (LOG, second))
    add_log(directory, keys + "quorum none\n")
    assert witness.add_checkpoint(request(3, 7, key=second))
    (directory / "logs" / origin_hash(ORIGIN) / "policy").write_text("nonsense\n")
    with structlog.testing.capture_logs() as logs:
        assert witness.add_checkpoint(request(7, 9, key=second))  # the former policy stays
    assert [line["event"] for line in logs] == ["witness_policy_not_taken"]


def test_a_policy_that_knows_no_key_of_what_was_cosigned_is_refused(directory: Path, witness: Witness) -> None:
    witness.add_checkpoint(request(0, 3))
    stranger = NoteKey(ORIGIN, ED25519, SigningKey(sha256(b"stranger").digest()).public)
    with pytest.raises(UsageError, match="no key that signed"):
        add_log(directory, f"log {stranger.vkey()}\nquorum none\n")


@pytest.mark.parametrize(
    "text",
    [
        "quorum none\n",
        f"log {LOG_KEY.vkey()}\nlog {NoteKey('log.example/two', ED25519, bytes(31) + b'1').vkey()}\nquorum none\n",
        f"log {LOG_KEY.vkey()}\n",
    ],
)
def test_a_policy_of_no_log_of_two_or_without_a_quorum_line_is_refused(text: str, directory: Path) -> None:
    with pytest.raises(ProofError):
        add_log(directory, text)


COSIGNER = SigningKey(sha256(b"cosigner").digest())
DEMANDING = f"log {LOG_KEY.vkey()}\nwitness a {NoteKey('a', COSIGNATURE_V1, COSIGNER.public).vkey()}\nquorum a\n"


def test_a_policys_quorum_is_demanded_before_anything_is_cosigned(directory: Path, witness: Witness) -> None:
    add_log(directory, DEMANDING)
    assert refused(witness, request(0, 3)).status == HTTPStatus.FORBIDDEN
    cosigned = note(3) + cosign(parse_note(note(3)).text, "a", COSIGNER, NOW_S)
    witness.add_checkpoint(request_body(0, [], cosigned))
    kept = witness.latest(origin_hash(ORIGIN))
    assert kept is not None
    assert kept.startswith(cosigned)
    # One key of the log alone forks it: nothing is cosigned, and the two notes are kept.
    assert refused(witness, request(3, 3, OTHERS)).status == HTTPStatus.FORBIDDEN
    assert len(list((directory / "logs" / origin_hash(ORIGIN) / "forks").iterdir())) == 1


def test_a_policy_that_waits_for_the_witness_itself_is_refused(directory: Path, witness: Witness) -> None:
    text = f"log {LOG_KEY.vkey()}\nwitness w {witness.vkey.vkey()}\nquorum w\n"
    with pytest.raises(UsageError, match="this very witness"):
        add_log(directory, text)


def test_without_its_quorum_a_policy_keeps_its_keys(directory: Path, witness: Witness) -> None:
    add_log(directory, without_quorum(DEMANDING))
    assert witness.add_checkpoint(request(0, 3))


# --- over HTTP


@pytest.fixture
async def served(witness: Witness):  # type: ignore[no-untyped-def]  # an async generator fixture
    server = WitnessServer(WitnessSettings(port=0, requests_per_second_max=40), witness)
    await server.start()
    try:
        yield server.address
    finally:
        await server.stop()


async def post(url: str, body: bytes) -> tuple[int, str, bytes]:
    async with aiohttp.ClientSession() as session, session.post(f"{url}/add-checkpoint", data=body) as answer:
        return answer.status, answer.headers["Content-Type"], await answer.read()


async def test_each_status_of_the_specification_is_answered(served: str, witness: Witness) -> None:
    assert (await post(served, b"nonsense"))[0] == 400
    stranger = SigningKey(sha256(b"stranger").digest())
    assert (await post(served, request(0, 3, key=stranger)))[0] == 403
    assert (await post(served, request(0, 3).replace(b"log.example/one\n3", b"log.example/two\n3")))[0] == 404
    status, _, body = await post(served, request(0, 3))
    assert status == 200
    assert cosignature_of(note(3), body, witness.vkey)
    assert await post(served, request(0, 7)) == (409, "text/x.tlog.size", b"3\n")
    assert (await post(served, request(3, 7, OTHERS)))[0] == 422
    assert (await post(served, b"x" * (REQUEST_BYTES_MAX + 1)))[0] == 413
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{served}/add-checkpoint") as answer:
            assert answer.status == 405
        async with session.get(f"{served}/{origin_hash(ORIGIN)}/checkpoint") as answer:
            assert answer.status == 200
            kept = parse_note(await answer.text())
        for path in (origin_hash("other"), "..%2f..%2fvkey", "x"):
            async with session.get(f"{served}/{path}/checkpoint") as answer:
                assert answer.status == 404
    verify_log_signature(kept, LOG_KEY)
    assert verify_cosignature(kept, witness.vkey)


async def test_a_fault_of_the_disk_is_a_fault_of_the_server(served: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes, **_: object) -> None:
        raise StorageError("no space", where=str(path))

    monkeypatch.setattr(module, "write_file", full)
    assert (await post(served, request(0, 3)))[0] == 500
    monkeypatch.undo()
    assert (await post(served, request(0, 3)))[0] == 200


async def test_too_many_requests_of_an_address_are_told_to_wait(served: str) -> None:
    answers = await asyncio.gather(*(post(served, b"nonsense") for _ in range(60)))
    assert {status for status, _, _ in answers} == {400, 429}


async def test_a_request_that_never_ends_is_given_up(served: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chainnode.witness_server.BODY_TIMEOUT_S", 0.05)

    async def endless():  # type: ignore[no-untyped-def]  # an async generator of bytes
        yield b"old 0\n"
        await asyncio.sleep(5)

    async with aiohttp.ClientSession() as session, session.post(f"{served}/add-checkpoint", data=endless()) as answer:
        assert answer.status == 408


@pytest.mark.parametrize("answer", [b"", b"\xff", b"nonsense\n", b"\xe2\x80\x94 a AAAA\n"])
def test_an_answer_without_the_witnesses_cosignature_is_refused(answer: bytes, witness: Witness) -> None:
    with pytest.raises(ProofError):
        cosignature_of(note(3), answer, witness.vkey)


def test_a_cosignature_without_a_time_is_refused(witness: Witness, directory: Path) -> None:
    key = SigningKey(bytes.fromhex(json.loads((directory / "witness.key").read_text())["seed"]))
    line = cosign(parse_note(note(3)).text, witness.vkey.name, key, 0)
    with pytest.raises(ChainError, match="without a time"):
        cosignature_of(note(3), line.encode(), witness.vkey)


def test_after_a_change_of_validators_the_newer_policy_lets_the_witness_go_on(tmp_path: Path) -> None:
    story = Story()
    directory = tmp_path / "w"
    make_witness(directory, "regulator.example/w1")
    add_log(directory, story.policies[0])
    witness = Witness(directory, lambda: NOW_S)
    sizes = [int(parse_note(text).text.split("\n")[1]) for text in story.notes]
    bodies = [
        request_body(old, () if not old else story.reader.consistency(old, new).path, text)
        for old, new, text in zip([0, *sizes], sizes, story.notes, strict=False)
    ]
    witness.add_checkpoint(bodies[0])
    error = refused(witness, bodies[1])  # three of four validators are the same, and still no quorum of the first set
    assert error.status == HTTPStatus.FORBIDDEN
    add_log(directory, story.policies[2])  # one that has gone two changes further serves both
    for body in bodies[1:]:
        assert witness.add_checkpoint(body)
    hashed = origin_hash(story.council.genesis.origin)
    kept = witness.latest(hashed)
    assert kept is not None
    assert kept.count("— council/") == 4  # the log and three cosigners
    assert Witness(directory, lambda: NOW_S).latest(hashed) == kept
