"""The node beside its witnesses: what it asks, what it keeps of the answers, and that none of them can harm it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import structlog
from aiohttp import web

from chainnode import witness_client
from chainnode.config import WitnessesSection
from chainnode.metrics import NodeMetrics
from chainnode.witness import Witness, add_log, make_witness, origin_hash
from chainnode.witness_client import Witnesses
from chainnode.witness_protocol import ANSWER_BYTES_MAX, SIZE_TYPE, parse_add_checkpoint
from chainnode.witness_server import WitnessServer, WitnessSettings
from ledger.checkpoint_rows import checkpoint_rows
from ledger.handovers import first_span
from ledger.reader import LedgerReader
from ledger.receipts import make_receipt, verify
from ledger.store import MemoryStore, Put
from ledger.trust_policy import assemble_checkpoint, parse_policy, policy_text
from ledger.witnessed import checkpoint_for_proof, forgotten_rows, witnessed_by
from primitives.errors import ProofError
from primitives.notes import Checkpoint, cosign_statement, parse_note, verify_cosignature
from tests.ledger.chain_fixtures import NAMES, Ledger, key_of

NOW_S = 1_790_000_000
NAME = "regulator.example/w1"


class Chain:
    """A chain whose checkpoints become stable by hand, and the rows that the node keeps."""

    def __init__(self) -> None:
        self.ledger = Ledger(MemoryStore())
        self.reader = LedgerReader(self.ledger.store, self.ledger.genesis)
        self.policy = policy_text(self.ledger.genesis, (first_span(self.ledger.genesis),))
        self.events: list[bytes] = []

    def extend(self) -> bytes:
        """Commit a block with one event, and return its id."""
        result = self.ledger.extend(self.ledger.banks["bank-a"].notes(1))
        leaf = self.reader.log.leaf_hash(result.header.first_index)
        self.events.append(leaf)
        return leaf

    def note(self, time_s: int = NOW_S, node: str = "bank-b") -> str:
        chain, genesis = self.ledger.chain, self.ledger.genesis
        text = Checkpoint(genesis.origin, chain.log_size, chain.log_root).text()
        signed = [
            (index, time_s, key_of(name, "cosign").sign(cosign_statement(text, time_s)))
            for index, name in enumerate(NAMES[:3])
        ]
        validators = first_span(genesis).validators
        size, root = chain.log_size, chain.log_root
        return assemble_checkpoint(genesis, validators, f"node-{node}", key_of(node, "log"), size, root, signed)

    def keep(self, rows: list[Put]) -> None:
        self.ledger.store.write(rows, sync=True)

    def stable(self, witnesses: Witnesses, time_s: int = NOW_S) -> None:
        self.keep(checkpoint_rows(self.ledger.store, witnesses.stable(self.note(time_s))))


@pytest.fixture
def chain() -> Chain:
    made = Chain()
    made.extend()
    return made


@pytest.fixture
def witness(tmp_path: Path, chain: Chain) -> Witness:
    make_witness(tmp_path / "w1", NAME)
    add_log(tmp_path / "w1", chain.policy)
    return Witness(tmp_path / "w1", lambda: NOW_S + 7)


@pytest.fixture
async def served(witness: Witness) -> AsyncIterator[str]:
    server = WitnessServer(WitnessSettings(port=0, requests_per_second_max=10_000), witness)
    await server.start()
    try:
        yield server.address
    finally:
        await server.stop()


def settings(*entries: str, **fields: int) -> WitnessesSection:
    return WitnessesSection(ask=list(entries), interval_ms=fields.get("interval_ms", 1), timeout_ms=2_000)


def asking(chain: Chain, given: WitnessesSection) -> Witnesses:
    return Witnesses(given, chain.reader, chain.keep, NodeMetrics())


async def until(found: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not found():  # noqa: ASYNC110  what is waited for is a row of the store, which tells nobody
            await asyncio.sleep(0.01)


class Running:
    """A running asker, ended with the block; an error of its own is the test's."""

    def __init__(self, witnesses: Witnesses) -> None:
        self._witnesses = witnesses

    async def __aenter__(self) -> Witnesses:
        self._task = asyncio.create_task(self._witnesses.run())
        return self._witnesses

    async def __aexit__(self, *_: object) -> None:
        assert not self._task.done() or self._task.exception() is None, self._task.exception()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


def size_of(chain: Chain, witness: Witness) -> int:
    found = witnessed_by(chain.reader, witness.vkey)
    return 0 if found is None else found.size


def demanding(chain: Chain, witness: Witness) -> str:
    return chain.policy.replace(
        "quorum validators-of-epoch-0\n",
        f"witness regulator {witness.vkey.vkey()}\ngroup both all validators-of-epoch-0 regulator\nquorum both\n",
    )


async def test_stable_checkpoints_are_cosigned_one_after_the_other_and_receipts_bear_it(
    chain: Chain, witness: Witness, served: str
) -> None:
    async with Running(asking(chain, settings(f"{witness.vkey.vkey()} {served}"))) as witnesses:
        for _ in range(3):
            event = chain.extend()
            chain.stable(witnesses)
            await until(lambda: size_of(chain, witness) == chain.ledger.chain.log_size)
    newest = chain.reader.checkpoint()
    assert newest is not None
    assert verify_cosignature(parse_note(newest.note), witness.vkey) == NOW_S + 7
    receipt = make_receipt(chain.reader, event, witnesses=[NAME])
    assert receipt is not None
    assert receipt == make_receipt(chain.reader, event)
    verdict = verify(receipt, demanding(chain, witness))
    assert "regulator" in verdict.cosigners
    assert verify(receipt, chain.policy).witnesses == 4
    metrics = witnesses._metrics.render().decode()
    assert f'chainnode_witness_cosignatures_total{{witness="{NAME}"}} 3.0' in metrics
    assert f'chainnode_witness_size{{witness="{NAME}"}} {float(chain.ledger.chain.log_size)}' in metrics


async def test_a_proof_of_what_a_witnessed_checkpoint_covers_is_made_under_it(
    chain: Chain, witness: Witness, served: str
) -> None:
    async with Running(asking(chain, settings(f"{witness.vkey.vkey()} {served}"))) as witnesses:
        chain.stable(witnesses)
        await until(lambda: size_of(chain, witness))
    old = chain.events[-1]
    quiet = asking(chain, settings())
    event = chain.extend()
    chain.stable(quiet)
    policy = demanding(chain, witness)
    covered = make_receipt(chain.reader, old)
    assert covered is not None
    assert verify(covered, policy).log_size < chain.ledger.chain.log_size
    fresh = make_receipt(chain.reader, event)
    assert fresh is not None
    with pytest.raises(ProofError, match="too few cosignatures"):
        verify(fresh, policy)
    assert make_receipt(chain.reader, event, witnesses=[NAME]) is None
    assert make_receipt(chain.reader, old, witnesses=[NAME, "other"]) is None


async def test_a_checkpoint_cosigned_anew_while_idle_keeps_the_witnesses_line_and_is_sent_again(
    chain: Chain, witness: Witness, served: str
) -> None:
    async with Running(asking(chain, settings(f"{witness.vkey.vkey()} {served}"))) as witnesses:
        chain.stable(witnesses)
        await until(lambda: size_of(chain, witness))
        witness._now_s = lambda: NOW_S + 70
        chain.stable(witnesses, NOW_S + 60)
        newest = chain.reader.checkpoint()
        assert newest is not None
        assert verify_cosignature(parse_note(newest.note), witness.vkey) >= NOW_S + 7

        def renewed() -> bool:
            now = chain.reader.checkpoint()
            assert now is not None
            return verify_cosignature(parse_note(now.note), witness.vkey) == NOW_S + 70

        await until(renewed)
    newest = chain.reader.checkpoint()
    assert newest is not None
    checked = parse_policy(demanding(chain, witness)).check(newest.note)
    assert (checked.first_s, checked.last_s) == (NOW_S + 60, NOW_S + 70)
    assert newest.note.count(NAME) == 1


async def test_a_node_that_forgot_asks_from_zero_and_takes_the_size_of_the_answer(
    chain: Chain, witness: Witness, served: str
) -> None:
    entry = f"{witness.vkey.vkey()} {served}"
    async with Running(asking(chain, settings(entry))) as witnesses:
        chain.stable(witnesses)
        await until(lambda: size_of(chain, witness))
    async with Running(asking(chain, settings(entry))) as witnesses:  # about the checkpoint that bears its line already
        await until(
            lambda: b"cosignatures_total" in (rendered := witnesses._metrics.render()) and b'1"} 1.0' in rendered
        )
    newest = chain.reader.checkpoint()
    assert newest is not None
    assert newest.note.count(NAME) == 1
    chain.keep(forgotten_rows(chain.ledger.store, ()))
    chain.extend()
    again = asking(chain, settings(entry))
    assert [each.size for each in again.asked] == [0]
    async with Running(again):
        chain.stable(again)
        await until(lambda: size_of(chain, witness) == chain.ledger.chain.log_size)


async def test_a_restart_goes_on_from_what_is_kept_and_forgets_who_is_asked_no_more(
    chain: Chain, witness: Witness, served: str, tmp_path: Path
) -> None:
    entry = f"{witness.vkey.vkey()} {served}"
    async with Running(asking(chain, settings(entry))) as witnesses:
        chain.stable(witnesses)
        await until(lambda: size_of(chain, witness))
    assert [each.size for each in asking(chain, settings(entry)).asked] == [chain.ledger.chain.log_size]
    other = make_witness(tmp_path / "w2", "other.example")
    async with Running(asking(chain, settings(f"{other.vkey()} http://127.0.0.1:1"))):
        await until(lambda: witnessed_by(chain.reader, witness.vkey) is None)


async def test_two_witnesses_are_asked_about_the_same_checkpoint_and_one_note_bears_both(
    chain: Chain, witness: Witness, served: str, tmp_path: Path
) -> None:
    make_witness(tmp_path / "w2", "auditor.example")
    add_log(tmp_path / "w2", chain.policy)
    second = Witness(tmp_path / "w2", lambda: NOW_S)
    server = WitnessServer(WitnessSettings(port=0), second)
    await server.start()
    given = settings(f"{witness.vkey.vkey()} {served}", f"{second.vkey.vkey()} {server.address}")
    async with Running(asking(chain, given)) as witnesses:
        chain.stable(witnesses)
        await until(lambda: size_of(chain, witness) and size_of(chain, second))
    await server.stop()
    both = checkpoint_for_proof(chain.reader, 0, [NAME, "auditor.example"])
    assert both is not None
    # From now on only the first cosigns: what both cosigned is still there for what it covers.
    async with Running(asking(chain, given)) as witnesses:
        chain.extend()
        chain.stable(witnesses)
        await until(lambda: size_of(chain, witness) == chain.ledger.chain.log_size)
    again = checkpoint_for_proof(chain.reader, 0, [NAME, "auditor.example"])
    assert again is not None
    assert again.size == both.size
    assert checkpoint_for_proof(chain.reader, 0, [NAME]) == again
    newest = checkpoint_for_proof(chain.reader, both.size + 1, [NAME])
    assert newest is not None
    assert newest.size == chain.ledger.chain.log_size


async def test_another_nodes_larger_checkpoint_is_no_failure(chain: Chain, witness: Witness, served: str) -> None:
    small = chain.note()
    chain.extend()
    chain.extend()
    async with Running(asking(chain, settings(f"{witness.vkey.vkey()} {served}"))) as witnesses:
        chain.stable(witnesses)
        await until(lambda: size_of(chain, witness))
        late = asking(chain, settings(f"{witness.vkey.vkey()} {served}"))
        late.asked[0].size = 0
        late.stable(small)
        async with Running(late):
            await until(lambda: late.asked[0].size == chain.ledger.chain.log_size)
            chain.extend()
            chain.stable(late)
            await until(lambda: size_of(chain, witness) == chain.ledger.chain.log_size)
        assert late.asked[0].failures == 0


Answer = Callable[[bytes], Awaitable[web.StreamResponse]]


async def _too_long(_: bytes) -> web.StreamResponse:
    return web.Response(body=b"x" * (ANSWER_BYTES_MAX + 1))


async def _nonsense(_: bytes) -> web.StreamResponse:
    return web.Response(text="nonsense")


async def _other_conflict(_: bytes) -> web.StreamResponse:
    return web.Response(status=409, text="7\n")


async def _bad_size(_: bytes) -> web.StreamResponse:
    return web.Response(status=409, body=b"07\n", headers={"Content-Type": SIZE_TYPE})


async def _never_content(body: bytes) -> web.StreamResponse:
    size = 1 if parse_add_checkpoint(body).old_size != 1 else 2
    return web.Response(status=409, body=b"%d\n" % size, headers={"Content-Type": SIZE_TYPE})


async def _inconsistent(_: bytes) -> web.StreamResponse:
    return web.Response(status=422, text="no\n")


async def _elsewhere(_: bytes) -> web.StreamResponse:
    return web.Response(status=307, headers={"Location": "http://127.0.0.1:1/"})


BAD: dict[str, tuple[Answer, str]] = {
    "too long": (_too_long, "too_long"),
    "nonsense": (_nonsense, "bad_answer"),
    "a conflict without its type": (_other_conflict, "http_409"),
    "a conflict that names no size": (_bad_size, "bad_answer"),
    "a conflict at every attempt": (_never_content, "conflict"),
    "another history": (_inconsistent, "http_422"),
    "a redirection": (_elsewhere, "http_307"),
}


@pytest.mark.parametrize("case", BAD)
async def test_a_bad_answer_is_counted_told_once_and_harms_nothing(
    case: str, chain: Chain, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, reason = BAD[case]
    monkeypatch.setattr(witness_client, "BACKOFF_FIRST_S", 0.001)

    async def handle(request: web.Request) -> web.StreamResponse:
        return await answer(await request.read())

    app = web.Application()
    app.router.add_post("/add-checkpoint", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    for _ in range(3):
        chain.extend()
    with structlog.testing.capture_logs() as logs:
        async with Running(asking(chain, settings(f"{witness.vkey.vkey()} {url}"))) as witnesses:
            chain.stable(witnesses)
            await until(lambda: witnesses.asked[0].failures >= 3)
    await runner.cleanup()
    told = [line for line in logs if line["event"] in ("witness_failing", "witness_holds_another_history")]
    assert len(told) == 1
    assert (told[0]["log_level"] == "error") == (reason == "http_422")
    assert f'reason="{reason}",witness="{NAME}"' in witnesses._metrics.render().decode()
    assert size_of(chain, witness) == 0


async def test_a_witness_that_comes_back_is_asked_about_the_newest(
    chain: Chain, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(witness_client, "BACKOFF_FIRST_S", 0.01)
    server = WitnessServer(WitnessSettings(port=0), witness)
    await server.start()
    port = int(server.address.rpartition(":")[2])
    url = server.address
    await server.stop()
    async with Running(asking(chain, settings(f"{witness.vkey.vkey()} {url}"))) as witnesses:
        chain.stable(witnesses)
        await until(lambda: witnesses.asked[0].failures >= 2)
        chain.extend()
        chain.stable(witnesses)
        server = WitnessServer(WitnessSettings(port=port), witness)
        await server.start()
        await until(lambda: size_of(chain, witness) == chain.ledger.chain.log_size)
        await server.stop()
    assert witnesses.asked[0].failures == 0


async def test_without_witnesses_nothing_runs_and_notes_stay_as_they_are(chain: Chain) -> None:
    witnesses = asking(chain, settings())
    async with asyncio.timeout(5):
        await witnesses.run()
    note = chain.note()
    assert witnesses.stable(note) == note


async def test_the_witness_refuses_a_fork_of_the_whole_consortium_and_of_one_validator(
    chain: Chain, witness: Witness, served: str
) -> None:
    async with Running(asking(chain, settings(f"{witness.vkey.vkey()} {served}"))) as witnesses:
        chain.stable(witnesses)
        await until(lambda: size_of(chain, witness))
    forked = Chain()
    forked.ledger.extend(forked.ledger.banks["bank-b"].notes(1))
    assert forked.ledger.chain.log_size == chain.ledger.chain.log_size
    async with Running(asking(forked, settings(f"{witness.vkey.vkey()} {served}"))) as witnesses:
        forked.stable(witnesses)
        await until(lambda: witnesses.asked[0].failures)
    assert witnesses.asked[0].reason == "http_422"
    kept = witness.directory / "logs" / origin_hash(chain.ledger.genesis.origin) / "forks"
    (pair,) = kept.iterdir()
    notes = [parse_note((pair / f"{name}.note").read_text()) for name in ("cosigned", "offered")]
    assert notes[0].text != notes[1].text
