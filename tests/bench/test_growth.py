"""What fills a network's stores is a real chain, alike in every home; and what is made of the figures is right."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from bench.filling import Filler, copy_rows, forget_pages, founded_before_ms, ledger_of, number_of
from bench.growth import compared, parse, parse_memory
from bench.growth_reads import READS, draw, spread
from bench.network import BenchNet
from bench.workload import BATCH_EVENTS
from chainnode.home import Home
from ledger.certificate_records import State, certificate_key, read_certificate
from ledger.committed_state import CommittedState
from ledger.fsck import verify_all
from ledger.genesis_json import genesis_from_json
from ledger.handovers import first_span
from ledger.index_places import Index
from ledger.index_reader import IndexReader
from ledger.reader import LedgerReader
from ledger.receipts import make_receipt, verify
from ledger.status_proofs import make_status_proof, verify_status
from ledger.store_leveldb import LevelDBStore
from ledger.trust_policy import policy_text

EVENTS = 2 * BATCH_EVENTS
CERTIFICATES = 3


def _reader(home: Home, store: LevelDBStore) -> LedgerReader:
    return LedgerReader(store, genesis_from_json(home.genesis.read_bytes()))


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> list[Home]:
    """Four homes, the first of them filled and copied to the last."""
    net = BenchNet(tmp_path_factory.mktemp("growth"), sources_a_bank=1)
    born_ms = time.time_ns() // 1_000_000 - founded_before_ms(EVENTS, CERTIFICATES)
    net.found(4, base_port=20_000, now_ms=born_ms, step=lambda _: None)
    filler = Filler(net, lambda _: None, quiet_s=0)
    filler.fill(net.sources(), EVENTS, CERTIFICATES)
    filler.close()
    found = [Home(Path(node.home)) for node in net.load().nodes]
    copy_rows(found[0], found[-1])
    return found


def test_a_filled_store_verifies_from_end_to_end_and_so_does_its_copy(homes: list[Home]) -> None:
    for home in (homes[0], homes[-1]):
        store = LevelDBStore(ledger_of(home))
        reader = _reader(home, store)
        verified = list(verify_all(store, reader.genesis))
        store.close()
        assert sum(item.event_count for item in verified) == EVENTS + 6 * CERTIFICATES


def test_what_is_drawn_is_found_by_every_name_and_proved(homes: list[Home]) -> None:
    store, index_store = LevelDBStore(ledger_of(homes[-1])), LevelDBStore(homes[-1].index)
    reader = _reader(homes[-1], store)
    index = IndexReader(reader, Index(index_store))
    drawn = draw(reader, 5, CERTIFICATES)
    assert [len(read.of(drawn)) for read in READS.values()] == [5] * len(READS)
    policy = policy_text(reader.genesis, (first_span(reader.genesis),))
    for event_id, uetr in zip(drawn.events, drawn.payments, strict=True):
        (place,) = index.payment(bytes.fromhex(uetr.replace("-", "")), count=2)
        assert reader.position(bytes.fromhex(event_id)) == place
        receipt = make_receipt(reader, bytes.fromhex(event_id))
        assert receipt is not None
        verify(receipt, policy)
    for number in set(drawn.certificates):
        assert len(index.certificate_events(number, count=10)) == 6
        proof = make_status_proof(reader, certificate_key(number), index.height())
        assert proof is not None
        verify_status(proof, policy)
    certificate = read_certificate(CommittedState(store), number_of(0))
    assert certificate is not None
    assert certificate.state is State.ACTIVE
    store.close()
    index_store.close()


def test_tables_are_linked_and_all_else_is_copied(homes: list[Home], tmp_path: Path) -> None:
    source, target = homes[0], Home(tmp_path / "home")
    copy_rows(source, target)
    same = {file.name: file.samefile(ledger_of(target) / file.name) for file in ledger_of(source).glob("[!L]*")}
    assert len(same) > 3
    assert same == {name: name.endswith(".ldb") for name in same}


def test_pages_of_files_can_be_forgotten_without_changing_them(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"rows")
    forget_pages(tmp_path)
    assert (tmp_path / "file").read_bytes() == b"rows"


def test_memory_is_read_by_what_backs_it() -> None:
    status = "Name:\tchainnode\nVmHWM:\t  30 kB\nVmRSS:\t   20 kB\nRssAnon:\t    5 kB\nRssFile:\t    15 kB\n"
    expected = {"resident": 20_480, "anonymous": 5_120, "mapped_files": 15_360, "resident_peak": 30_720}
    assert parse_memory(status) == expected


def test_the_99th_percentile_of_500_reads_is_the_sixth_from_above() -> None:
    figures = spread([number / 1_000 for number in range(500)])
    assert figures == {"count": 500, "p50_ms": 250.0, "p99_ms": 495.0, "most_ms": 499.0}


def test_a_size_is_compared_with_the_first() -> None:
    small, large = ({name: {"cpu_us_per_event_per_validator": us} for name in ("batches", "lone")} for us in (10, 12))
    assert compared(small, large) == {"batches_cpu": 1.2, "lone_cpu": 1.2}


def test_sizes_are_as_the_issue_of_growth_names_them_unless_others_are_asked_for() -> None:
    assert parse([]).sizes == [0, 1_000_000, 10_000_000]
    assert parse(["--sizes", "5000"]).sizes == [5_000]
