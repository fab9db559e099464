"""The index that follows the log: what it finds, that it can be rebuilt, and that it never runs ahead."""

from hashlib import sha256
from uuid import UUID

import pytest

from ledger import indexes
from ledger.batches import build_batch, contents_of, parse_batch
from ledger.certificate_bodies import Accept, Apply, Grant, Product, Review, SiteCheck, Suspend, TypeTest
from ledger.certificate_index import granted_rows
from ledger.chain import Chain
from ledger.events import Event
from ledger.index_places import EVENTS, MAPS, PAIR_KEYS, REACHED_KEY, UETRS, Index, packed_of
from ledger.index_reader import IndexReader
from ledger.indexes import FRESH_BLOCKS, INDEX_FORMAT_KEY, IndexFollower, index_rows
from ledger.packed_map import PackedReader, all_entries, manifest_of
from ledger.payments import AgentRecord, AgentRole, AgentScheme, Channel, PaymentStatement, Side, Status
from ledger.reader import LedgerReader
from ledger.registry import KINDS
from ledger.store import MemoryStore
from primitives.encoding import Record, encode
from primitives.errors import StorageError
from primitives.ids import TimeMs
from tests.ledger.certificate_fixtures import CATEGORY, DOCUMENTS, EXAMINATION, INSPECTION, REPORT
from tests.ledger.chain_fixtures import START_MS, Bank, certificate_of, genesis

UETR = UUID("f81d4fae-7dec-41d0-a765-00a0c91e6bf6").bytes
NUMBER = "FTP-2026-06-000001"


def statement(reference: str, *, uetr: bytes = b"") -> PaymentStatement:
    """Return a statement about the payment of this reference."""
    return PaymentStatement(
        salt=sha256(f"salt {reference}".encode()).digest()[:16],
        side=Side.DEBTOR,
        message_type="pacs.008",
        status=Status.SETTLED,
        reason="",
        amount=100,
        currency="CNY",
        amount_commitment=b"",
        settlement_date=20260102,
        agents=[AgentRecord(AgentRole(1), AgentScheme.BIC, "BKCHCNBJ")],
        channel=Channel(1),
        uetr=uetr,
        reference_commitment=bytes(32),
        pair_key=pair_key(reference),
        tokens=[],
        fields_root=bytes(32),
        terminal_certificate="",
        source_digest=bytes(32),
        time_ms=START_MS,
    )


def pair_key(reference: str) -> bytes:
    """Return the pair key of a reference."""
    return sha256(reference.encode()).digest()


class Network:
    """A chain with the real kinds, and its index."""

    def __init__(self) -> None:
        self.genesis = genesis()
        self.store, self.index = MemoryStore(), MemoryStore()
        self.chain = Chain(self.store, self.genesis, KINDS)
        self.reader = LedgerReader(self.store, self.genesis)
        self.begin()
        self.banks = {name: Bank(name, self.genesis.chain_id) for name in ("bank-a", "bank-b")}
        self.count = 0

    def commit(self, *events: tuple[str, Record, int]) -> None:
        """Commit a block of (bank, body, kind), one batch per event."""
        batches = []
        for name, body, kind in events:
            self.count += 1
            data = encode(Event(name, self.count.to_bytes(16, "big"), START_MS + 60_000, kind, 1, encode(body)))
            bank = self.banks[name]
            raw = _signed(bank, data)
            batches.append(parse_batch(raw))
            bank.number, bank.previous = bank.number + 1, batches[-1].hash
            self.store.write(self.chain.add_batch(batches[-1]), sync=True)
        time_ms = self.chain.header.time_ms + 1
        block = self.chain.build(self.chain.tip_hash, time_ms=time_ms, epoch=0, proposer=0, batches=batches)
        result = self.chain.commit(block.header.hash(), certificate_of(block, self.genesis))
        self.store.write(result.puts, sync=True)
        self.chain.written(result.ticket)

    def begin(self) -> None:
        """Open the index, as a start does."""
        self.places = Index(self.index)
        self.follower = IndexFollower(self.places, self.reader)
        self.answers = IndexReader(self.reader, self.places)

    def follow(self) -> None:
        """Bring the index up to the log."""
        while self.follower.follow(2):
            pass


def _signed(bank: Bank, data: bytes) -> bytes:
    return build_batch(
        [data],
        chain_id=bank.chain_id,
        member=bank.name,
        key=bank.key,
        number=bank.number,
        previous=bank.previous,
        time_ms=TimeMs(START_MS),
    )


@pytest.fixture
def network() -> Network:
    """Five blocks: both sides of payment 1, others, and events about a certificate that breaks rules."""
    made = Network()
    made.commit(("bank-a", statement("1", uetr=UETR), 32), ("bank-b", statement("2"), 32))
    made.commit(("bank-b", statement("1"), 32))
    made.commit(("bank-a", Apply("bank-a.1", "Bank A", Product("T", "1", "2"), CATEGORY, DOCUMENTS), 1))
    made.commit(("bank-a", Suspend(NUMBER, "late", None, None), 8))
    made.commit(("bank-a", statement("3", uetr=UETR), 32), ("bank-a", statement("4"), 32))
    return made


def at(places: list) -> list[tuple[int, int]]:  # type: ignore[type-arg]  # positions of two kinds
    """Return (height, index) of positions."""
    return [(place.height, place.index) for place in places]


def test_payment_is_found_by_pair_key_and_uetr_on_both_sides(network: Network) -> None:
    network.follow()
    find = network.answers.payment
    assert at(find(pair_key("1"), count=9)) == [(1, 0), (2, 0)]
    assert at(find(pair_key("1"), after=(1, 0), count=9)) == [(2, 0)]
    assert at(find(pair_key("1"), after=(2, 0), count=9, descending=True)) == [(1, 0)]
    assert at(find(pair_key("1"), count=1)) == [(1, 0)]
    assert at(find(UETR, count=9)) == [(1, 0), (5, 0)]
    assert find(pair_key("9"), count=9) == []


def test_pair_key_that_only_begins_alike_finds_nothing(network: Network) -> None:
    network.follow()
    assert network.answers.payment(pair_key("1")[:16] + bytes(16), count=9) == []


@pytest.mark.parametrize("member", [None, "bank-a", "bank-b"])
@pytest.mark.parametrize("descending", [False, True])
def test_pages_of_payments_join_to_the_whole_list(network: Network, member: str | None, descending: bool) -> None:
    network.follow()
    everything = {None: [(1, 0), (1, 1), (2, 0), (5, 0), (5, 1)], "bank-a": [(1, 0), (5, 0), (5, 1)]}
    expected = everything.get(member, [(1, 1), (2, 0)])
    pages: list[tuple[int, int]] = []
    after = None
    while page := network.answers.payments(member=member, after=after, count=2, descending=descending):
        pages += at(page)
        after = page[-1].log_index
    assert pages == (expected[::-1] if descending else expected)


def test_events_of_an_application_and_a_certificate_are_found_rejected_ones_too(network: Network) -> None:
    network.follow()
    assert at(network.answers.certificate_events(NUMBER, count=9)) == [(4, 0)]
    assert at(network.answers.certificate_events("bank-a.1", count=9)) == [(3, 0)]
    assert network.answers.certificates(holder=None, after=None, count=9, descending=False) == []


def test_granted_certificates_are_listed_with_the_events_of_their_application() -> None:
    network = Network()
    network.commit(("bank-a", Apply("bank-a.1", "Bank A", Product("T", "1", "2"), CATEGORY, DOCUMENTS), 1))
    network.follow()
    for name, body, kind in (
        ("bank-b", Accept("bank-a.1"), 2),
        ("bank-b", TypeTest("bank-a.1", True, EXAMINATION), 3),
        ("bank-b", SiteCheck("bank-a.1", True, INSPECTION), 4),
        ("bank-b", Review("bank-a.1", REPORT), 5),
    ):
        network.commit((name, body, kind))
    # The bank may not grant, so the grants of this test are shown to the index as if they had been applied.
    network.commit(("bank-b", Grant("bank-a.1", NUMBER, None, None, None), 6))
    network.commit(("bank-b", Grant("bank-a.2", "FTP-2026-06-000002", None, None, None), 6))
    network.follow()
    assert network.answers.certificates(holder=None, after=None, count=9, descending=False) == []
    for height in (6, 7):
        batches, rejected = network.reader.recorded_batches(height)
        header = network.reader.header(height)
        assert header is not None
        ids = network.reader.log.leaf_hashes(header.first_index, header.first_index + header.event_count)
        assert rejected == {0}
        puts, _, numbers, _ = index_rows(height, ids, map(contents_of, batches), frozenset())
        application = f"bank-a.{height - 5}"
        network.index.write([*puts, *granted_rows(next(iter(numbers)), application, "bank-a", height)], sync=True)
    listed = network.answers.certificates
    assert listed(holder="bank-a", after=None, count=9, descending=False) == [NUMBER, "FTP-2026-06-000002"]
    assert listed(holder=None, after=NUMBER, count=9, descending=False) == ["FTP-2026-06-000002"]
    assert listed(holder=None, after="FTP-2026-06-000002", count=9, descending=True) == [NUMBER]
    assert listed(holder="bank-b", after=None, count=9, descending=False) == []
    events = network.answers.certificate_events(NUMBER, count=9)
    assert at(events) == [(height, 0) for height in range(1, 7)]
    assert at(network.answers.certificate_events(NUMBER, after=(4, 0), count=1)) == [(5, 0)]
    assert at(network.answers.certificate_events(NUMBER, after=(4, 0), count=2, descending=True)) == [(3, 0), (2, 0)]


def test_index_goes_on_after_a_restart_where_it_stood(network: Network) -> None:
    assert network.follower.follow(2) == 2
    assert network.answers.height() == 1
    network.follower.close()
    network.begin()
    assert network.follower.height == network.answers.height() == 1
    network.follow()
    network.follower.close()
    assert network.follower.height == network.chain.height == 5
    assert network.follower.follow() == 0
    at_once = MemoryStore()
    follower = IndexFollower(Index(at_once), network.reader)
    follower.follow()
    follower.close()
    for name in MAPS:
        entries = sorted(all_entries(network.index, name))
        assert entries == sorted(all_entries(at_once, name)), "no block was left out or taken twice"
        assert name == UETRS or len(entries) > 3
    assert small(network.index) == small(at_once)


def small(store: MemoryStore) -> dict[bytes, bytes]:
    """Return the rows of an index without those of its maps."""
    return {key: value for key, value in store.rows().items() if key[:1] not in b"PR"}


def test_what_a_crash_takes_is_indexed_again_and_nothing_twice(network: Network) -> None:
    network.follower.follow(2)
    network.follower.close()
    assert network.follower.kept_height == 1
    network.follow()
    assert network.follower.kept_height == 1, "what follows is in memory"
    assert network.answers.height() == network.chain.height
    expected = network.answers.payment(UETR, count=9)
    rows = small(network.index)
    network.begin()
    assert network.answers.height() == 1
    assert at(network.answers.payment(UETR, count=9)) == [(1, 0)]
    network.follow()
    assert network.answers.payment(UETR, count=9) == expected
    assert small(network.index) == rows
    network.follower.close()
    entries = list(all_entries(network.index, EVENTS))
    assert len(entries) == len(set(entries)) == 7


def test_what_cannot_be_read_changes_nothing(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(height: int) -> None:
        if height == 3:
            raise StorageError("the body is not here")

    read = LedgerReader.recorded_batches
    with monkeypatch.context() as patched:
        patched.setattr(LedgerReader, "recorded_batches", lambda self, height: gone(height) or read(self, height))
        for _ in range(2):
            with pytest.raises(StorageError, match="not here"):
                network.follower.follow()
    network.follow()
    network.follower.close()
    entries = list(all_entries(network.index, EVENTS))
    assert len(entries) == len(set(entries)) == 7


def test_runs_are_made_of_so_many_entries_and_those_of_all_maps_at_once(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexes, "FRESH_ENTRIES", 4)
    network.follow()
    assert [sum(1 for _ in all_entries(network.index, name)) for name in MAPS] == [4, 3, 1]
    packed = packed_of(network.index)
    assert packed is not None
    assert packed.height == network.follower.kept_height == 3
    assert network.answers.height() == 5
    network.begin()
    assert network.follower.height == 3


def test_blocks_that_are_handed_over_are_indexed_as_those_read_from_the_store(network: Network) -> None:
    handed = MemoryStore()
    follower = IndexFollower(Index(handed), network.reader)
    for height in range(1, network.chain.height + 1):
        block = network.reader.block(height)
        assert block is not None
        batches = [network.chain.get_batch(batch_hash) for batch_hash in block.batch_hashes]
        rejected = frozenset(index for index, _ in network.reader.rejected(height))
        first = block.header.first_index
        ids = network.reader.log.leaf_hashes(first, first + block.header.event_count)
        follower.offer(block.hash, ids, [batch for batch in batches if batch is not None], rejected)
    while follower.follow():
        pass
    follower.close()
    network.follow()
    network.follower.close()
    assert handed.rows() == network.index.rows()


def test_rebuilt_index_has_the_same_rows(network: Network) -> None:
    network.follow()
    network.follower.close()
    rows = network.index.rows()
    network.follower.clear()
    assert network.follower.height is None
    assert set(network.index.rows()) == {INDEX_FORMAT_KEY}
    network.follow()
    network.follower.close()
    assert network.index.rows() == rows


@pytest.mark.parametrize("packed", [False, True])
def test_index_of_another_history_begins_anew(network: Network, packed: bool) -> None:
    network.follow()
    if packed:
        network.follower.close()
    other = Network()
    for _ in range(5):
        other.commit(("bank-a", statement("other"), 32))
    places = Index(network.index)
    follower = IndexFollower(places, other.reader)
    assert follower.height is None
    assert small(network.index).keys() == {INDEX_FORMAT_KEY}
    while follower.follow():
        pass
    answers = IndexReader(other.reader, places)
    assert at(answers.payment(pair_key("other"), count=9)) == [(h, 0) for h in range(1, 6)]
    assert answers.payment(pair_key("1"), count=9) == []


def test_index_of_a_later_format_is_refused_by_name(network: Network) -> None:
    network.index.write([(INDEX_FORMAT_KEY, b"chainnode-index/9")], sync=True)
    with pytest.raises(StorageError, match=r"chainnode-index/6.*chainnode-index/9"):
        IndexFollower(Index(network.index), network.reader)


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5])
def test_index_of_an_older_format_is_built_anew(network: Network, version: int) -> None:
    network.follow()
    network.follower.close()
    rows = network.index.rows()
    old = MemoryStore()
    reached = (REACHED_KEY, rows[REACHED_KEY])
    of_maps = [(kind + b"e" + bytes(28), bytes(24)) for kind in (b"r", b"f", b"u", b"k", b"P")]
    older = (INDEX_FORMAT_KEY, b"chainnode-index/%d" % version)
    old.write([older, reached, *of_maps, (b"Re", b"of old"), (b"b" + bytes(6), b"")], sync=True)
    follower = IndexFollower(Index(old), network.reader)
    assert follower.height is None
    while follower.follow():
        pass
    follower.close()
    assert old.rows() == rows


def test_payments_are_found_in_runs_and_in_what_blocks_added_since() -> None:
    network = Network()
    blocks = 2 * FRESH_BLOCKS + 5
    for height in range(1, blocks + 1):
        network.commit(("bank-a", statement("1" if height % 3 else "2"), 32))
        network.follow()
        if height % 40 == 0:  # as after a crash
            network.begin()
            network.follow()
    expected = [(height, 0) for height in range(1, blocks + 1) if height % 3 == 0]
    assert at(network.answers.payment(pair_key("2"), count=blocks)) == expected
    assert at(network.answers.payment(pair_key("2"), after=expected[39], count=3)) == expected[40:43]
    assert network.follower.kept_height == 2 * FRESH_BLOCKS - 1, "the rest is in memory"
    assert len(manifest_of(network.index, PAIR_KEYS).runs) == 2
    assert network.follower.follow() == 0
    rebuilt = Index(MemoryStore())
    follower = IndexFollower(rebuilt, network.reader)
    while follower.follow():
        pass
    answers = IndexReader(network.reader, rebuilt)
    assert at(answers.payment(pair_key("2"), count=blocks)) == expected


@pytest.mark.parametrize("when", ["before the runs are read", "after they were read"])
def test_a_reader_that_a_run_overtakes_misses_nothing_and_sees_nothing_twice(
    network: Network, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run is made of what blocks added, and that is forgotten, while a reader looks for a key."""
    network.follow()
    key = pair_key("1")
    expected = at(network.answers.payment(key, count=9))
    assert expected
    places = PackedReader.places

    def overtaken(reader: PackedReader, key: bytes) -> list[bytes]:
        if when == "before the runs are read":
            network.follower.close()
        found = places(reader, key)
        network.follower.close()
        return found

    with monkeypatch.context() as patched:
        patched.setattr(PackedReader, "places", overtaken)
        assert at(network.answers.payment(key, count=9)) == expected
    assert network.places.fresh[PAIR_KEYS].count == 0
    assert at(network.answers.payment(key, count=9)) == expected, "now it is in the run alone"


@pytest.mark.parametrize("packed", [False, True])
def test_events_are_found_by_the_first_digits_of_their_ids_wherever_they_stand(network: Network, packed: bool) -> None:
    network.follower.follow(3)
    if packed:
        network.follower.close()
    assert network.answers.height() == 2, "the newest are in the log alone"
    ids = [view.id for height in range(1, 6) for view in network.reader.block_events(height)]
    for event_id in ids:
        for digits in (event_id.hex(), event_id.hex()[:5]):
            like = sorted(other for other in ids if other.hex().startswith(digits))
            assert network.answers.event_ids(digits, 9) == like
    assert network.answers.event_ids(bytes(8).hex(), 9) == []


def test_index_before_its_first_block_is_at_height_0() -> None:
    network = Network()
    assert network.answers.height() == 0
    assert network.answers.payments(member=None, after=None, count=5, descending=True) == []
