"""fsck: a sound store passes, and every damaged row of it is found."""

from collections.abc import Callable
from pathlib import Path

import pytest

from chainnode.config import load_config
from chainnode.founding import read_genesis
from chainnode.fsck import ShadowStore, check_chain, check_store
from chainnode.home import Home
from chainnode.identity import load_node_keys, read_key
from chainnode.localnet import Localnet
from ledger.batches import build_batch, parse_batch
from ledger.chain import Chain
from ledger.event_json import body_from_json
from ledger.events import Event
from ledger.genesis import Genesis
from ledger.store import MemoryStore
from primitives.encoding import encode
from primitives.ids import ZERO_HASH, TimeMs
from primitives.votes import COMMIT, QuorumCertificate, vote_statement

NOW_MS = 1_790_000_000_000
BLOCKS = 3


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


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[Genesis, list[tuple[bytes, bytes]], Localnet]:
    net = Localnet(tmp_path_factory.mktemp("fsck") / "net")
    file = net.found(4, base_port=None, now_ms=NOW_MS, step=lambda _: None)
    genesis = read_genesis(net.directory / "genesis.json")
    votes = [load_node_keys(Home(Path(node.home))).vote for node in file.nodes]
    source = read_key(net.keys / "bank-a-bank.key").signing_key
    store = MemoryStore()
    chain = Chain(store, genesis)
    previous = ZERO_HASH
    for number in range(BLOCKS):
        raw = build_batch(
            [application(10 * number), application(10 * number + 1)],
            chain_id=genesis.chain_id,
            member="bank-a",
            key=source,
            number=number,
            previous=previous,
            time_ms=TimeMs(NOW_MS),
        )
        batch = parse_batch(raw)
        previous = batch.hash
        store.write(chain.add_batch(batch), sync=True)
        block = chain.build(chain.tip_hash, time_ms=NOW_MS + 1 + number, epoch=0, proposer=0, batches=[batch])
        block_hash = block.header.hash()
        message = vote_statement(COMMIT, genesis.chain_id, 0, 0, number + 1, block_hash)
        signatures = tuple((index, key.sign(message)) for index, key in enumerate(votes[:3]) if key is not None)
        result = chain.commit(block_hash, QuorumCertificate(COMMIT, 0, 0, number + 1, block_hash, signatures))
        store.write(result.puts, sync=True)
        chain.written(result.ticket)
    return genesis, list(store.iterate(b"\0", b"\xff")), net


def store_of(found: list[tuple[bytes, bytes]]) -> MemoryStore:
    store = MemoryStore()
    store.write(found, sync=True)
    return store


def test_sound_store_passes_and_is_counted(sound: tuple[Genesis, list[tuple[bytes, bytes]], Localnet]) -> None:
    genesis, found, _ = sound
    steps: list[tuple[int, int]] = []
    report = check_chain(store_of(found), genesis, step=lambda done, of: steps.append((done, of)))
    assert report.problem == ""
    assert (report.height, report.blocks, report.batches, report.events) == (BLOCKS, BLOCKS, BLOCKS, 2 * BLOCKS)
    assert steps == [(1, BLOCKS), (2, BLOCKS), (3, BLOCKS)]
    assert report.as_row()["ok"] is True


DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "last byte flipped": lambda value: value[:-1] + bytes([value[-1] ^ 1]) if value else b"\x01",
    "row gone": lambda _: None,
    "row cut": lambda value: value[:-1] if value else None,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_of_any_row_is_found(damage: str, sound: tuple[Genesis, list[tuple[bytes, bytes]], Localnet]) -> None:
    genesis, found, _ = sound
    missed = []
    for key, value in found:
        changed = DAMAGES[damage](value)
        if key == b"m/format" or (key == b"m/tip" and changed is None):
            continue  # the store itself refuses a format; without a tip there is no chain to check
        store = store_of(found)
        store.write([(key, changed)], sync=True)
        report = check_chain(store, genesis)
        if not report.problem:
            missed.append(key)
    assert missed == []


def test_first_bad_block_is_named(sound: tuple[Genesis, list[tuple[bytes, bytes]], Localnet]) -> None:
    genesis, found, _ = sound
    block_2 = next(key for key, _ in found if key == b"b" + (2).to_bytes(8, "big"))
    store = store_of(found)
    store.write([(block_2, None)], sync=True)
    report = check_chain(store, genesis)
    assert report.bad_height == 2
    assert report.problem == "height 2: block missing"
    assert report.blocks == 1


def test_row_too_many_is_found(sound: tuple[Genesis, list[tuple[bytes, bytes]], Localnet]) -> None:
    genesis, found, _ = sound
    store = store_of(found)
    store.write([(b"scertificate/FTP-2026-09-000001", b"\x90")], sync=True)
    assert "a row is too many" in check_chain(store, genesis).problem


def test_empty_store_is_no_problem(sound: tuple[Genesis, list[tuple[bytes, bytes]], Localnet]) -> None:
    assert check_chain(MemoryStore(), sound[0]).problem == ""


def test_shadow_writes_nothing_to_the_real_store() -> None:
    real = MemoryStore()
    ShadowStore(real).write([(b"m/tip", b"x")], sync=True)
    assert real.get(b"m/tip") is None


def test_lost_and_damaged_write_ahead_logs_are_found(
    sound: tuple[Genesis, list[tuple[bytes, bytes]], Localnet],
) -> None:
    home = Home(Path(sound[2].load().nodes[0].home))
    config = load_config(home.config).config
    assert check_store(home, config).problem == ""
    content = home.wal.read_bytes()
    home.wal.write_bytes(content[:-1] + b"\xff")
    assert "damaged" in check_store(home, config).problem
    home.wal.unlink()
    assert "without its write-ahead log" in check_store(home, config).problem
    home.wal.write_bytes(content)
