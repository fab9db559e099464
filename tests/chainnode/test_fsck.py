"""fsck of a home: a sound one passes and is counted; what is wrong in its store or beside it is found and named.

Damage of every kind of row is in tests/ledger/test_fsck.py.
"""

import base64
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from chainnode.config import WitnessesSection, load_config
from chainnode.founding import read_genesis
from chainnode.fsck import CHECKPOINT, Report, check_home
from chainnode.home import Home, HomeInUse
from chainnode.identity import load_node_keys, new_key, write_key
from chainnode.localnet import Localnet
from chainnode.source_outbox import SourceOutbox
from chainnode.wal import WriteAheadLog
from chainnode.wal_format import encode_body, encode_frame, encode_header
from consensus.messages import WINDOW, CheckpointVote, Vote
from consensus.records import Cosigned, Prepared, Reached, encode_record
from ledger import indexes
from ledger.batches import parse_batch
from ledger.chain import Chain
from ledger.checkpoint_rows import checkpoint_rows
from ledger.event_json import body_from_json
from ledger.events import Event
from ledger.fsck import NoSuchStart
from ledger.genesis import Genesis, validator_set
from ledger.index_places import EVENTS, REACHED_KEY, Index
from ledger.indexes import INDEX_FORMAT_KEY, IndexFollower
from ledger.packed_map import run_prefix
from ledger.reader import LedgerReader
from ledger.receipts import assemble_checkpoint
from ledger.rows import block_key, checkpoint_key, witness_key
from ledger.store import prefix_stop
from ledger.store_leveldb import LevelDBStore
from primitives.encoding import Record, encode
from primitives.errors import StorageError
from primitives.ids import Epoch, Hash, Height, TimeMs, View
from primitives.keys import SigningKey
from primitives.notes import COSIGNATURE_V1, Checkpoint, NoteKey, cosign, cosign_statement, parse_note
from primitives.votes import COMMIT, PREPARE, QuorumCertificate, vote_statement

NOW_MS = 1_790_000_000_000
BLOCKS = 3


@dataclass
class Sound:
    """A validator's home with three blocks, a checkpoint, a write-ahead log and an outbox, and the keys of all four."""

    home: Home
    genesis: Genesis
    cosign: list[SigningKey]
    size: int

    def check(self, steps: list[tuple[int, int]] | None = None, start: int | str | None = None) -> Report:
        """Run fsck."""
        told = [] if steps is None else steps
        config = load_config(self.home.config).config
        return check_home(self.home, config, step=lambda done, of: told.append((done, of)), start=start)

    def put(self, key: bytes, value: bytes | None) -> bytes | None:
        """Change a row of the store and return what it was."""
        store = LevelDBStore(self.home.data / "ledger.ldb")
        before = store.get(key)
        store.write([(key, value)], sync=True)
        store.close()
        return before


def application(number: int) -> bytes:
    kind, schema, body = body_from_json(
        "certificate.apply",
        {
            "application": f"bank-a.{number}",
            "holder_name": "Bank A",
            "product": {"name": "Reader", "model": "R", "version": "1"},
            "category": 9,
            "evidence": [
                {"kind": "technical_documents", "digest": "ab" * 32, "custodian": "bank-a", "size_bytes": number + 1}
            ],
        },
    )
    return encode(Event("bank-a", number.to_bytes(16, "big"), NOW_MS + 3_600_000, kind, schema, body))


def note_of(genesis: Genesis, chain: Chain, log: SigningKey, cosign: Sequence[SigningKey]) -> str:
    text = Checkpoint(genesis.origin, chain.log_size, chain.log_root).text()
    signed = [(index, 5, key.sign(cosign_statement(text, 5))) for index, key in enumerate(cosign)]
    return assemble_checkpoint(genesis, validator_set(genesis), "bank-a", log, chain.log_size, chain.log_root, signed)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Sound:
    net = Localnet(tmp_path_factory.mktemp("fsck") / "net")
    file = net.found(4, base_port=None, now_ms=NOW_MS, step=lambda _: None)
    genesis = read_genesis(net.directory / "genesis.json")
    keys = [load_node_keys(Home(Path(node.home))) for node in file.nodes]
    home, own = Home(Path(file.nodes[0].home)), keys[0]
    assert own.source is not None
    store = LevelDBStore(home.data / "ledger.ldb")
    chain = Chain(store, genesis)
    outbox = SourceOutbox(home.outbox, chain_id=genesis.chain_id, member="bank-a", key=own.source)
    for number in range(BLOCKS):
        raw = outbox.sign([application(10 * number), application(10 * number + 1)], time_ms=TimeMs(NOW_MS))
        outbox.sync()
        batch = parse_batch(raw)
        store.write(chain.add_batch(batch), sync=True)
        block = chain.build(chain.tip_hash, time_ms=NOW_MS + 1 + number, epoch=0, proposer=0, batches=[batch])
        block_hash, height = block.header.hash(), Height(number + 1)
        message = vote_statement(COMMIT, genesis.chain_id, Epoch(0), View(0), height, block_hash)
        signatures = tuple((index, key.vote.sign(message)) for index, key in enumerate(keys[:3]) if key.vote)
        certificate = QuorumCertificate(COMMIT, Epoch(0), View(0), height, block_hash, signatures)
        result = chain.commit(block_hash, certificate)
        store.write(result.puts, sync=True)
        chain.written(result.ticket)
    outbox.close()
    cosign = [key.cosign for key in keys if key.cosign is not None]
    store.write(checkpoint_rows(store, note_of(genesis, chain, own.log, cosign[:3])), sync=True)
    store.close()
    log = WriteAheadLog(home.wal, genesis.chain_id)
    vote = CheckpointVote(Epoch(0), Height(BLOCKS), chain.log_size, chain.log_root, 5, 0, bytes(64))
    log.append([encode_record(Cosigned(vote))])
    log.sync()
    log.close()
    return Sound(home, genesis, cosign, chain.log_size)


def test_sound_home_passes_and_is_counted(sound: Sound) -> None:
    steps: list[tuple[int, int]] = []
    report = sound.check(steps)
    assert report.problem == ""
    assert (report.height, report.blocks, report.batches, report.events) == (BLOCKS, BLOCKS, BLOCKS, 2 * BLOCKS)
    assert (report.checkpoints, report.wal_records, report.outbox_batches) == (1, 1, BLOCKS)
    assert steps == [(1, BLOCKS), (2, BLOCKS), (3, BLOCKS)]
    assert report.as_row()["ok"] is True


def test_a_check_from_a_height_or_the_newest_checkpoint_executes_what_lies_above(sound: Sound) -> None:
    report = sound.check(start=2)
    assert (report.problem, report.base_height, report.height, report.blocks) == ("", 2, BLOCKS, BLOCKS - 2)
    report = sound.check(start=CHECKPOINT)
    assert (report.problem, report.base_height, report.blocks) == ("", BLOCKS, 0)
    with pytest.raises(NoSuchStart, match=f"from 0 to {BLOCKS}, got 99"):
        sound.check(start=99)
    note = sound.put(checkpoint_key(sound.size), None)
    with pytest.raises(NoSuchStart, match="no stable checkpoint"):
        sound.check(start=CHECKPOINT)
    sound.put(checkpoint_key(sound.size), note)


def test_home_in_use_is_refused(sound: Sound) -> None:
    with sound.home.lock(), pytest.raises(HomeInUse, match="already in use"):
        sound.check()


def test_first_bad_block_is_named(sound: Sound) -> None:
    before = sound.put(block_key(2), None)
    report = sound.check()
    sound.put(block_key(2), before)
    assert (report.bad_height, report.blocks) == (2, 1)
    assert report.problem.startswith("block 2: block missing")
    assert report.as_row()["ok"] is False


def test_checkpoint_without_a_quorum_of_cosignatures_is_found(sound: Sound) -> None:
    key = checkpoint_key(sound.size)
    before = sound.put(key, None)
    assert before is not None
    sound.put(key, b"\n".join(before.split(b"\n")[:-2]) + b"\n")
    report = sound.check()
    sound.put(key, before)
    assert "too few cosignatures" in report.problem
    assert report.bad_height is None


def test_what_a_witness_cosigned_has_the_validators_quorum_as_well(sound: Sound) -> None:
    before = sound.put(checkpoint_key(sound.size), None)
    assert before is not None
    sound.put(checkpoint_key(sound.size), before)
    text = parse_note(before.decode()).text
    line = cosign(text, "regulator.example/w", SigningKey(bytes(32)), 7).encode()
    key = NoteKey("regulator.example/w", COSIGNATURE_V1, SigningKey(bytes(32)).public)
    place = witness_key(key.key_id, key.name)
    sound.put(place, before + line)
    assert not sound.check().problem
    sound.put(place, b"\n".join(before.split(b"\n")[:-2]) + b"\n" + line)
    report = sound.check()
    sound.put(place, None)
    assert "checkpoint of witness regulator.example/w does not verify" in report.problem


def test_what_a_witness_of_the_settings_cosigned_verifies_under_its_key(sound: Sound) -> None:
    note = sound.put(checkpoint_key(sound.size), None)
    assert note is not None
    sound.put(checkpoint_key(sound.size), note)
    name, own, other = "regulator.example/w", SigningKey(bytes(32)), SigningKey(bytes([1]) * 32)
    key = NoteKey(name, COSIGNATURE_V1, own.public)
    config = load_config(sound.home.config).config
    asking = replace(config, witnesses=WitnessesSection(ask=[f"{key.vkey()} https://regulator.example"]))
    text, place = parse_note(note.decode()).text, witness_key(key.key_id, name)
    sound.put(place, note + cosign(text, name, own, 7).encode())
    sound_problem = check_home(sound.home, asking).problem
    stranger = base64.b64encode(key.key_id + base64.b64decode(cosign(text, name, other, 7).split()[-1])[4:]).decode()
    sound.put(place, note + f"\u2014 {name} {stranger}\n".encode())
    forged = check_home(sound.home, asking).problem
    sound.put(place, None)
    assert not sound_problem
    assert "checkpoint of witness regulator.example/w does not verify" in forged


def flipped(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


FILES: dict[str, tuple[str, Callable[[bytes], bytes] | None, str]] = {
    "log damaged": ("wal", flipped, "damaged"),
    "log cut to nothing": ("wal", lambda _: bytes(8), "without its write-ahead log"),
    "log gone": ("wal", None, "without its write-ahead log"),
    "outbox damaged": ("outbox", flipped, "damaged"),
    "outbox emptied": ("outbox", lambda _: b"", "batches of the gateway's key that its outbox does not hold"),
}


@pytest.mark.parametrize("name", FILES)
def test_lost_and_damaged_files_are_found(name: str, sound: Sound) -> None:
    file, damage, problem = FILES[name]
    path = sound.home.wal if file == "wal" else sound.home.outbox
    content = path.read_bytes()
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(content))
    report = sound.check()
    path.write_bytes(content)
    assert problem in report.problem
    assert report.bad_height is None
    assert report.blocks == BLOCKS


@dataclass(frozen=True)
class Beside:
    """A file that a start reads, what happens to it, and what is said of it."""

    file: str
    change: Callable[[bytes], bytes] | None
    problem: str


BESIDE = {
    "outbox gone": Beside("data/outbox", None, "outbox: the source key's outbox is missing"),
    "voting key gone": Beside("keys/vote.key", None, "vote.key: a validator needs vote.key and cosign.key"),
    "voting key damaged": Beside("keys/vote.key", lambda data: data.replace(b'"seed"', b'"sead"'), "not a key file"),
    "source key damaged": Beside("keys/source.key", lambda _: b"{}", "source.key: not a key file"),
    "token gone": Beside("keys/token", None, "keys/token"),
    "certificate gone": Beside("keys/tls.crt", None, "TLS key or certificate cannot be used"),
    "certificate damaged": Beside("keys/tls.crt", lambda data: data[:-200], "TLS key or certificate cannot be used"),
    "TLS key of another": Beside("keys/tls.key", lambda _: b"", "TLS key or certificate cannot be used"),
}


@pytest.mark.parametrize("name", BESIDE)
def test_what_a_start_would_refuse_or_miss_is_found(sound: Sound, name: str) -> None:
    case = BESIDE[name]
    path = sound.home.root / case.file
    content, mode = path.read_bytes(), path.stat().st_mode
    if case.change is None:
        path.unlink()
    else:
        path.write_bytes(case.change(content))
    try:
        report = sound.check()
    finally:
        path.write_bytes(content)
        path.chmod(mode)
    assert case.problem in report.problem
    assert report.blocks == BLOCKS
    assert not sound.check().problem


def test_a_validator_without_any_voting_key_is_found(sound: Sound) -> None:
    paths = [sound.home.vote_key, sound.home.cosign_key]
    for path in paths:
        path.rename(path.with_suffix(".away"))
    try:
        assert "vote.key: a validator without its voting key" in sound.check().problem
    finally:
        for path in paths:
            path.with_suffix(".away").rename(path)


def test_a_key_file_that_is_not_the_registered_one_is_found(sound: Sound) -> None:
    other = Home(sound.home.root.parent / "bank-b")
    for name in ("vote.key", "cosign.key", "log.key"):
        path = sound.home.keys / name
        content = path.read_bytes()
        path.write_bytes((other.keys / name).read_bytes())
        try:
            problem = sound.check().problem
        finally:
            path.write_bytes(content)
        assert f"keys/{name} is not the key that the chain knows for this node: expected " in problem
        assert f"the {name[:-4]} key of bank-b; put the node's own key files back" in problem


def test_a_log_that_was_put_back_beside_the_one_that_stands_in_for_it_is_found(sound: Sound) -> None:
    """A start passes over it: it may be older than what the key signed last."""
    try:
        WriteAheadLog(sound.home.learner_wal, sound.genesis.chain_id).close()
        problem = sound.check().problem
        assert "a voting key without its write-ahead log: got learner.wal, which stands in for a lost one" in problem
        sound.home.learner_wal.write_bytes(encode_header(bytes(32)))
        assert "learner.wal: write-ahead log of another chain" in sound.check().problem
    finally:
        sound.home.learner_wal.unlink()


@pytest.mark.parametrize(("name", "problem"), [("observer", ""), ("bank-a", "a validator without its voting key")])
def test_a_home_whose_store_holds_nothing_yet_is_judged_by_the_genesis(
    sound: Sound, tmp_path: Path, name: str, problem: str
) -> None:
    shutil.copytree(sound.home.root, tmp_path / "home")
    home = Home(tmp_path / "home")
    shutil.rmtree(home.data)
    home.make_data()
    LevelDBStore(home.data / "ledger.ldb").close()
    for path in (home.vote_key, home.cosign_key, home.source_key):
        path.unlink()
    if name == "observer":
        home.log_key.unlink()
        write_key(home.log_key, new_key("log"))
    settings = load_config(home.config).config
    report = check_home(home, msgspec.structs.replace(settings, node=msgspec.structs.replace(settings.node, name=name)))
    assert problem in report.problem
    assert bool(report.problem) is bool(problem)


@pytest.fixture
def index(sound: Sound) -> Iterator[Path]:
    """Give the node the index of its log, of two tables."""
    for _ in range(2):
        ledger, index = LevelDBStore(sound.home.data / "ledger.ldb"), LevelDBStore(sound.home.index)
        follower = IndexFollower(Index(index), LedgerReader(ledger, sound.genesis))
        follower.follow(2)
        follower.close()
        ledger.close()
        index.close()
    yield sound.home.index
    shutil.rmtree(sound.home.index)


def test_a_damaged_index_is_found_with_what_to_do(sound: Sound, index: Path) -> None:
    report = sound.check()
    assert (report.problem, report.keys) == ("", 6)
    assert report.index_rows > 2 * BLOCKS
    opened = LevelDBStore(index)
    prefix = run_prefix(EVENTS, 0)
    key, value = next(opened.iterate(prefix, prefix_stop(prefix)))
    opened.write([(key, None)], sync=True)
    opened.close()
    said = sound.check().problem
    assert said.startswith("index.ldb, run 0 of map e: the index is damaged, a run is cut: expected 2, got 0; move the")
    opened = LevelDBStore(index)
    opened.write([(key, value)], sync=True)
    opened.close()
    (index / "CURRENT").write_bytes(b"x")
    assert "index.ldb: the store is damaged, CURRENT at offset 0" in sound.check().problem
    shutil.rmtree(index)
    index.mkdir()
    again = LevelDBStore(index)
    again.write([(REACHED_KEY, b"x")], sync=True)
    again.close()
    said = sound.check().problem
    assert said.startswith("the index is damaged, what it has reached: ")
    assert "the node builds its indexes again" in said
    again = LevelDBStore(index)
    again.write([(INDEX_FORMAT_KEY, b"of another release")], sync=True)
    again.close()
    assert "index format not known" in sound.check().problem


def test_a_ledger_below_its_index_lost_blocks(sound: Sound, index: Path) -> None:
    store = LevelDBStore(index)
    store.write([(REACHED_KEY, encode(indexes.Reached(Height(BLOCKS + 4), Hash(bytes(32)))))], sync=True)
    store.close()
    said = f"the ledger lost blocks: expected height {BLOCKS + 4} at least, says the index, got height {BLOCKS}"
    assert said in sound.check().problem


@pytest.mark.parametrize(
    ("record", "height"),
    [
        (Reached(Epoch(0), Height(BLOCKS)), None),
        (Reached(Epoch(0), Height(BLOCKS + 1)), BLOCKS + 1),
        (Reached(Epoch(7), Height(BLOCKS + 2)), BLOCKS + 2),
        (Cosigned(CheckpointVote(Epoch(0), Height(BLOCKS + 3), 99, Hash(bytes(32)), 9, 0, bytes(64))), BLOCKS + 3),
        (Prepared(Vote(PREPARE, Epoch(0), View(0), Height(BLOCKS + WINDOW), Hash(bytes(32)), 0, bytes(64))), None),
        (Prepared(Vote(PREPARE, Epoch(0), View(0), Height(99), Hash(bytes(32)), 0, bytes(64))), 99 - WINDOW),
    ],
)
def test_a_ledger_below_what_the_log_says_was_delivered_is_found(
    sound: Sound, record: Record, height: int | None
) -> None:
    own = sound.home.wal.read_bytes()
    log = WriteAheadLog(sound.home.wal, sound.genesis.chain_id)
    log.append([encode_record(record)])
    log.sync()
    log.close()
    report = sound.check()
    sound.home.wal.write_bytes(own)
    if height is None:
        assert report.problem == ""
    else:
        said = f"ledger.ldb: the ledger lost blocks: expected height {height} at least, says the write-ahead log"
        assert said in report.problem
        assert f"got height {BLOCKS}; start the node" in report.problem
        assert report.height == BLOCKS


def test_batch_of_another_key_in_the_outbox_is_found(sound: Sound) -> None:
    content = sound.home.source_key.read_bytes()
    other = Home(sound.home.root.parent / "bank-b").source_key.read_bytes()
    sound.home.source_key.write_bytes(other)
    report = sound.check()
    sound.home.source_key.write_bytes(content)
    assert "does not follow the one before" in report.problem


def test_a_log_of_another_chain_of_another_validator_or_damaged_is_told_with_what_to_do(sound: Sound) -> None:
    own = sound.home.wal.read_bytes()
    vote = CheckpointVote(Epoch(0), Height(2), sound.size, Hash(bytes(32)), 5, 1, bytes(64))
    chain_id = sound.genesis.chain_id
    head = encode_header(chain_id)
    foreign = encode_frame(chain_id, len(head), encode_body([encode_record(Cosigned(vote))]))
    logs = {
        r": write-ahead log of another chain.*put this node's own log back": encode_header(bytes(32)),
        r": epoch 0, height 2: .*another validator: expected bank-a, got bank-b.*own log back": head + foreign,
        rf": .* damaged at offset {len(own)}, behind records up to height {BLOCKS}.*move the": own + own,
    }
    try:
        for complaint, data in logs.items():
            sound.home.wal.write_bytes(data)
            found = sound.check().problem
            assert found is not None
            assert re.match(re.escape(str(sound.home.wal)) + complaint, found), found
    finally:
        sound.home.wal.write_bytes(own)


@pytest.mark.parametrize("pattern", ["CURRENT", "MANIFEST-*"])
def test_a_store_without_one_of_its_files_is_refused_and_left_as_it_is(pattern: str, sound: Sound) -> None:
    (file,) = (sound.home.data / "ledger.ldb").glob(pattern)
    data = file.read_bytes()
    file.unlink()
    try:
        said = rf"ledger.ldb: the store is damaged, {file.name} is missing.*fetches the chain"
        with pytest.raises(StorageError, match=said):
            sound.check()
    finally:
        file.write_bytes(data)
    assert not sound.check().problem


@pytest.mark.parametrize("height", range(1, BLOCKS + 1))
def test_a_row_that_is_missing_or_changed_is_told_with_its_height(height: int, sound: Sound) -> None:
    for value in (None, b"\x90"):
        before = sound.put(block_key(height), value)
        try:
            report = sound.check()
            assert report.bad_height == height
            assert report.problem is not None
            assert "start with an empty store and catch up" in report.problem
        finally:
            sound.put(block_key(height), before)
