"""A generated day: the same from the same seed, read by the adapters, and reconciled to its answer key."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec
import pytest

from bench.reconciliation import Blocks, Score, Statements, judge, secret_of
from chainnode import generating_files
from chainnode.cli.main import run
from chainnode.generating import (
    INSTITUTIONS,
    LINE,
    NOTICE,
    ORDER,
    QR,
    REPORT,
    RETURN,
    TRANSFER,
    Answer,
    Plan,
    Seeded,
    Told,
    Traffic,
)
from chainnode.generating_cards import ANSWER, REQUEST, REVERSAL
from chainnode.generating_files import line_of, write_day
from chainnode.generating_profiles import CHANNELS
from chainnode.ingest.formats import ingest
from chainnode.ingest.privacy import payment_keys
from chainnode.ingest.statements import statement_for
from ledger.events import Event
from ledger.payments import PAYMENT_STATEMENT, PaymentStatement, TokenField
from ledger.policy import DAY_MS
from ledger.reconciliation_index import ReconciliationFollower
from ledger.reconciliation_reading import ReconciliationReader
from ledger.store import MemoryStore
from primitives.encoding import decoder_of, encode
from primitives.errors import UsageError

PLAN = Plan(date(2026, 11, 23), 4, 2_000, 7, 0.05)
HOUR_MS = 3_600_000


def told(plan: Plan) -> list[Told]:
    return list(Traffic(plan).statements())


def hours_of(directory: Path) -> dict[str, list[Path]]:
    """Return a day's files by their hour."""
    found: dict[str, list[Path]] = {}
    for path in sorted(directory.glob("bank-*/*")):
        found.setdefault(path.name[:11], []).append(path)
    return dict(sorted(found.items()))


def test_a_day_is_the_same_from_the_same_seed_and_another_from_another(tmp_path: Path) -> None:
    plan = Plan(PLAN.day, 3, 300, 1)
    for name in ("one", "other"):
        write_day(plan, tmp_path / name)
    write_day(Plan(PLAN.day, 3, 300, 2), tmp_path / "third")
    one, other, third = (
        {str(path.relative_to(tmp_path / name)): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in ("one", "other", "third")
    )
    assert one == other
    assert one != third
    assert {(tmp_path / "one" / bank).stat().st_mode & 0o777 for bank in plan.names} == {0o700}  # as drop folders are


def test_a_day_has_as_many_payments_as_asked_for_in_the_order_of_time() -> None:
    traffic = Traffic(PLAN)
    found = list(traffic.statements())
    assert traffic.made_payments == PLAN.payments
    assert [one.time_ms for one in found] == sorted(one.time_ms for one in found)
    assert len({one.payment.end_to_end_id for one in found}) == PLAN.payments


def test_channels_and_hours_are_spread_as_their_profiles_say() -> None:
    found = told(Plan(PLAN.day, 4, 5_000, 3, 0.0))
    firsts = {one.payment.end_to_end_id: one for one in reversed(found)}.values()
    channels = Counter(one.channel for one in firsts)
    total = sum(profile.share for profile in CHANNELS)
    for profile in CHANNELS:
        assert abs(channels[profile.channel] / 5_000 - profile.share / total) < 0.1
    offices = {datetime.fromtimestamp(one.time_ms / 1_000, UTC).hour for one in firsts if one.channel.name == "HVPS"}
    assert offices <= set(range(7, 19))
    retail = (LINE, QR, REQUEST)
    assert all((one.payment.message_type in retail) != bool(one.payment.uetr) for one in firsts)


def test_every_kind_of_discrepancy_is_seeded_in_turn() -> None:
    traffic = Traffic(PLAN)
    answers = [one.answer for one in traffic.statements() if one.answer is not None]
    assert Counter(answer.kind for answer in answers) == traffic.seeded
    assert min(traffic.seeded.values()) >= max(traffic.seeded.values()) - 1 > 0
    assert set(traffic.seeded) == set(Seeded)


@pytest.mark.parametrize("wrong", [{"banks": 1}, {"banks": 101}, {"payments": 0}, {"discrepancies": 1.5}])
def test_a_plan_out_of_bounds_is_refused(tmp_path: Path, wrong: dict[str, float]) -> None:
    values = {"banks": 2, "payments": 1, "seed": 1, "discrepancies": 0.0} | wrong
    with pytest.raises(UsageError, match="out of range"):
        write_day(Plan(PLAN.day, **values), tmp_path / "day")  # type: ignore[arg-type]  # numbers


def test_the_files_of_a_day_are_read_by_the_adapters_and_reconcile_to_the_answer_key(tmp_path: Path) -> None:
    made = write_day(PLAN, tmp_path / "day")
    statements, blocks, store = Statements(PLAN), Blocks(PLAN), MemoryStore()
    follower = ReconciliationFollower(store, blocks)  # type: ignore[arg-type]  # of a reader it needs no more
    score, read = Score(), 0
    for hour, paths in hours_of(tmp_path / "day").items():
        events = []
        for path in paths:
            bank = path.parent.name
            for draft in ingest(path.read_bytes(), statements.contexts[bank], where=path.name).drafts:
                events.append(encode(Event(bank, draft.reference or b"", 1 << 41, PAYMENT_STATEMENT, 1, draft.body)))
        read += len(events)
        end_ms = int(datetime.strptime(hour, "%Y%m%dT%H").replace(tzinfo=UTC).timestamp() * 1_000) + HOUR_MS
        blocks.add(events, end_ms)
        while follower.follow(blocks.height, 1_000):
            pass
    end_ms = PLAN.start_ms + 4 * DAY_MS
    blocks.add((), end_ms)
    while follower.follow(blocks.height, 1_000):
        pass
    answers: dict[bytes, Answer] = {}
    for line in (tmp_path / "day" / "answers.jsonl").read_text().splitlines():
        item = json.loads(line)
        answer = Answer(**item | {"kind": Seeded(item["kind"])} | {
            name: tuple(item[name]) for name in ("between", "fields", "missing")
        })  # fmt: skip
        answers[payment_keys(secret_of(*answer.between), answer.reference).pair_key] = answer
    judge(score, store, ReconciliationReader(store, blocks), answers, {}, end_ms)  # type: ignore[arg-type]  # as above
    assert (score.missed, score.invented) == ([], [])
    assert score.found == {kind: count for kind, count in made.seeded.items() if count} != {}
    assert read == made.statements
    assert score.tolerated > 0


read_statement = decoder_of(PaymentStatement).decode
WORDS = (
    *("side", "status", "reason", "currency", "settlement_date", "agents", "channel", "uetr", "pair_key", "tokens"),
    *("message_type", "terminal_certificate", "amount"),
)
"""What a statement says; the rest are salts, commitments, and the time of a file of many payments."""


def words_of(bank: str, body: PaymentStatement, *, of_lines: bool = False) -> bytes:
    """Return who says what; JSON lines have no type of their own and no instructed amount."""
    said = {name: getattr(body, name) for name in WORDS}
    if of_lines:
        said["message_type"] = LINE
        said["tokens"] = [token for token in body.tokens if token.field is not TokenField.INSTRUCTED_AMOUNT]
    return encode((bank, bool(body.amount_commitment), *said.values()))


def test_the_messages_of_a_day_are_read_as_exactly_what_was_told_in_all_formats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generating_files, "LINES_HELD_MAX", 10)
    write_day(PLAN, tmp_path / "day")
    contexts = Statements(PLAN).contexts
    read: Counter[bytes] = Counter()
    formats: Counter[str] = Counter()
    for path in sorted((tmp_path / "day").glob("bank-*/*")):
        bank = path.parent.name
        found = ingest(path.read_bytes(), contexts[bank], where=path.name)
        assert not found.refused
        formats[found.format] += 1
        read.update(words_of(bank, read_statement(draft.body)) for draft in found.drafts)
    assert set(formats) == {"iso20022", "iso8583", "jsonl"}
    expected = told(PLAN)
    assert {one.payment.message_type for one in expected} == {
        *(TRANSFER, INSTITUTIONS, REPORT, RETURN, ORDER, NOTICE, LINE, QR, REQUEST, ANSWER, REVERSAL),
    }
    assert read == Counter(words_of(one.bank, statement_for(one.payment, contexts[one.bank]).body) for one in expected)


def test_the_messages_of_a_day_say_what_its_payments_say_as_plain_json_lines() -> None:
    contexts = Statements(PLAN).contexts
    compared: Counter[str] = Counter()
    for one in told(PLAN):
        body = statement_for(one.payment, contexts[one.bank]).body
        if one.payment.amount is None:
            continue  # a line has one
        plain = msgspec.structs.replace(one.payment, side=body.side, status=body.status)
        line = json.dumps(line_of(plain)).encode()
        (draft,) = ingest(line, contexts[one.bank], where="line").drafts
        assert words_of(one.bank, read_statement(draft.body), of_lines=True) == words_of(one.bank, body, of_lines=True)
        compared[one.payment.message_type] += 1
    assert set(compared) == {TRANSFER, INSTITUTIONS, RETURN, ORDER, NOTICE, LINE, QR, REQUEST, ANSWER, REVERSAL}


def test_the_command_writes_a_day_and_says_what_is_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["generate", "payments", "--day", "2026-11-23", "--banks", "3", "--payments", "200", "--seed", "5"]
    assert run(["-o", "json", *arguments, "--discrepancies", "0.1", "-d", str(tmp_path / "day")]) == 0
    said = json.loads(capsys.readouterr().out)
    summary = json.loads((tmp_path / "day" / "summary.json").read_text())
    assert (said["payments"], summary["payments"]) == (200, 200)
    assert sum(summary["seeded"].values()) == len((tmp_path / "day" / "answers.jsonl").read_text().splitlines())
    assert run([*arguments, "-d", str(tmp_path / "day")]) != 0
    assert "directory in use" in capsys.readouterr().err
