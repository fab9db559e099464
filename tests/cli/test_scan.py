"""`cert scan`: a mark that somebody met, held against a chain, with a node and by a bundle alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import pytest
import segno
from msgspec.structs import replace
from PIL import Image

from chainnode.cli.exits import Exit
from chainnode.cli.main import run
from chainnode.interop.marks import MarkVerdict, Moment, Use, judge_mark
from ledger.certificate_bodies import Cancel, Reduce
from ledger.certificate_records import certificate_key
from ledger.governance_bodies import SetSchemePolicy
from ledger.index_places import Index
from ledger.index_reader import IndexReader
from ledger.indexes import IndexFollower
from ledger.mark_bodies import Medium
from ledger.mark_codes import MarkCode, parse_mark_code
from ledger.mark_errors import ForeignHost, ForgedMark, OtherChain
from ledger.mark_records import MarkStanding, mark_key
from ledger.scheme_policy import MarkUse
from ledger.store import MemoryStore
from primitives.errors import ProofError
from rpc.errors import RpcError
from rpc.explorer.asking import ask
from rpc.mark_pictures import mark_png
from rpc.methods.certificate_status import get_certificate_status
from rpc.methods.marks import get_mark, mark_events
from rpc.methods.misuse import get_misuse, list_misuse
from rpc.ports import Services
from tests.cli.test_with_a_node import Node, address, home, node
from tests.ledger.certificate_fixtures import NUMBER, REQUEST, grant, suspend
from tests.ledger.mark_chain_fixtures import SITE, MarkChain
from tests.ledger.mark_fixtures import DECIDE, REPORT, USE, WITHDRAW
from tests.ledger.scheme_chain_fixtures import SchemeChain
from tests.ledger.scheme_fixtures import LETTER, REVOKE, SCOPE

__all__ = ["address", "home", "node"]

ANCIENT = "999999d"
NEVER = "FTP-2026-06-000777"


def chain(*more: Callable[[MarkChain], object], **options: Any) -> MarkChain:
    """Return a chain with a licensed mark, and what came since."""
    found = MarkChain().licensed(**options)
    for each in more:
        each(found)
    found.stable()
    return found


@cache
def licensed() -> MarkChain:
    """Return one chain for all tests that only read it."""
    return chain()


def judged(found: MarkChain, use: Use = Use(), code: MarkCode | None = None) -> MarkVerdict:  # noqa: B008  # frozen
    """Return what the mark is worth at the last time that is proved."""
    return judge_mark(code or found.code(), found.proofs(), found.policy(), [SITE], use, Moment())


def withdrawn(found: MarkChain) -> None:
    found.act("cb", "first", WITHDRAW)


def suspended(found: MarkChain) -> None:
    found.act("cb", "first", suspend())


def revoked(found: MarkChain) -> None:
    found.act("cb", "first", found.signed(REVOKE))


def cancelled(found: MarkChain) -> None:
    found.act("cb", "first", Cancel(NUMBER, REQUEST))


# --- judging


def test_a_mark_is_licensed_by_its_four_proofs() -> None:
    verdict = judged(licensed())
    assert (verdict.standing, verdict.licensed, verdict.breach) == (MarkStanding.LICENSED, True, None)
    assert verdict.stapled.status is not None
    assert verdict.stapled.status.valid


@pytest.mark.parametrize(
    ("use", "breach"),
    [
        (Use(Medium.PRODUCT), None),
        (Use(Medium.WEB, SCOPE[:1]), None),
        (Use(Medium.PROMOTION), "mark_promotion"),
        (Use(Medium.WEB, ("barcode",)), "mark_beyond_scope"),
    ],
)
def test_the_use_that_was_met_is_held_against_licence_scope_and_policy(use: Use, breach: str | None) -> None:
    verdict = judged(licensed(), use)
    assert (verdict.breach, verdict.licensed) == (breach, breach is None)


def test_a_medium_that_the_licence_leaves_out_is_told() -> None:
    found = MarkChain().licensed(Medium.APP)
    assert judged(found, Use(Medium.WEB)).breach == "mark_medium"


def test_a_scope_that_was_reduced_counts_as_it_is_now() -> None:
    found = chain(lambda c: c.act("cb", "first", Reduce(NUMBER, "asked", SCOPE[1:], LETTER)))
    assert judged(found, Use(Medium.WEB, SCOPE[1:])).breach == "mark_beyond_scope"
    assert judged(found, Use(Medium.WEB, SCOPE[:1])).breach is None


@pytest.mark.parametrize(
    ("since", "standing"),
    [
        (withdrawn, MarkStanding.WITHDRAWN),
        (suspended, MarkStanding.DORMANT),
        (revoked, MarkStanding.DORMANT),
        (cancelled, MarkStanding.DORMANT),
    ],
)
def test_a_licence_is_worth_what_the_chain_says_now(since: Callable[[MarkChain], None], standing: MarkStanding) -> None:
    verdict = judged(chain(since))
    assert (verdict.standing, verdict.licensed) == (standing, False)


def test_a_code_of_another_host_chain_or_hash_is_refused_by_name() -> None:
    found, code = licensed(), licensed().code()
    for wrong, error in (
        (found.code("https://explorer.example.evil.example"), ForeignHost),
        (MarkCode(code.base, code.number, bytes(8), code.hash), OtherChain),
        (MarkCode(code.base, code.number, code.chain, bytes(16)), ForgedMark),
    ):
        with pytest.raises(error):
            judged(found, code=wrong)


def test_the_code_of_another_chain_is_told_before_its_certificate_is_looked_for() -> None:
    found = licensed()
    code = MarkCode(SITE, NEVER, bytes(8), bytes(16))
    with pytest.raises(OtherChain):
        judge_mark(code, [found.proof(certificate_key(NEVER))], found.policy(), [SITE], Use(), Moment())


def test_proofs_of_two_blocks_do_not_make_one_judgement() -> None:
    found = chain()
    before = found.proofs()
    withdrawn(found)
    found.stable()
    stale = [found.proofs()[0], before[1], *found.proofs()[2:]]
    with pytest.raises(ProofError, match="two blocks"):
        judge_mark(found.code(), stale, found.policy(), [SITE], Use(), Moment())


@pytest.mark.parametrize("place", [1, 2, 3])
def test_a_proof_of_another_row_is_refused(place: int) -> None:
    found = licensed()
    proofs = found.proofs()
    proofs[place] = found.proof(mark_key(NEVER))
    with pytest.raises(ProofError, match="another thing"):
        judge_mark(found.code(), proofs, found.policy(), [SITE], Use(), Moment())


def test_any_other_number_of_proofs_is_refused() -> None:
    found = licensed()
    for proofs in ([], found.proofs()[:3], found.proofs() * 2):
        with pytest.raises(ProofError):
            judge_mark(found.code(), proofs, found.policy(), [SITE], Use(), Moment())


# --- the command, by a bundle


@pytest.fixture
def asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Scan without any node; return the exit status and the row, or the error."""

    def ask_it(
        found: MarkChain, source: str | bytes, *words: str, proofs: list[str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        (tmp_path / "bundle").write_text("".join(proofs or found.proofs()))
        (tmp_path / "policy").write_text(found.policy())
        if isinstance(source, bytes):
            (tmp_path / "mark.png").write_bytes(source)
            source = str(tmp_path / "mark.png")
        files = ("--offline", str(tmp_path / "bundle"), "--policy", str(tmp_path / "policy"))
        command = ["cert", "scan", source, *files, "--fresh", ANCIENT, "--url", SITE, *words]
        status = run(["-o", "json", "--endpoint", "http://127.0.0.1:1", *command])
        told = capsys.readouterr()
        return status, json.loads(told.out) if told.out else json.loads(told.err)["error"]

    return ask_it


Asked = Callable[..., tuple[int, dict[str, Any]]]


def picture(code: str, number: str = NUMBER) -> bytes:
    """Return the picture of a code."""
    return mark_png(code, number)


def test_a_picture_and_its_text_are_worth_the_same(asked: Asked) -> None:
    found = licensed()
    by_picture, by_text = asked(found, picture(found.code().text)), asked(found, found.code().text)
    assert by_picture[0] == by_text[0] == Exit.OK
    for _, row in (by_picture, by_text):
        assert (row["number"], row["status"], row["mark"], row["licensed"]) == (NUMBER, "valid", "licensed", True)
        assert row["possible_since"]


@pytest.mark.parametrize(
    ("since", "status"),
    [
        (withdrawn, Exit.NOT_LICENSED),
        (suspended, Exit.SUSPENDED),
        (revoked, Exit.REVOKED),
        (cancelled, Exit.CANCELLED),
    ],
)
def test_each_outcome_has_an_exit_status(asked: Asked, since: Callable[[MarkChain], None], status: Exit) -> None:
    found = chain(since)
    assert asked(found, found.code().text)[0] == status


def test_a_term_that_ended_since_the_bundle_is_expired(asked: Asked) -> None:
    found = MarkChain().licensed(granted=grant(valid_months=1))
    status, row = asked(found, found.code().text)
    assert (status, row["status"], row["mark"]) == (Exit.EXPIRED, "expired", "dormant")


def test_a_use_that_is_not_admitted_has_a_status_of_its_own(asked: Asked) -> None:
    found = licensed()
    status, row = asked(found, found.code().text, "--medium", "promotion")
    assert (status, row["status"], row["breach"]) == (Exit.NOT_LICENSED, "valid", "mark_promotion")
    assert asked(found, found.code().text, "--medium", "product")[0] == Exit.OK


def test_a_number_that_was_never_granted_is_not_found(asked: Asked) -> None:
    found = licensed()
    code = MarkCode(SITE, NEVER, found.code().chain, found.code().hash)
    status, row = asked(found, code.text, proofs=[found.proof(certificate_key(NEVER))])
    assert (status, row["exists"], row["mark"]) == (Exit.NOT_FOUND, False, None)


def test_a_bundle_of_the_status_alone_says_nothing_of_the_mark(asked: Asked) -> None:
    found = chain(withdrawn)
    status, row = asked(found, found.code().text, proofs=found.proofs()[:1])
    assert (status, row["licensed"], row["mark"]) == (Exit.OK, None, None)
    assert "proves nothing" in row["sentence"]


def changed(code: MarkCode, **parts: Any) -> str:
    """Return the text of a code with something else in it."""
    fields = {name: getattr(code, name) for name in ("base", "number", "chain", "hash")}
    return MarkCode(**(fields | parts)).text


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda code: changed(code, hash=bytes(16)), "forged_mark"),
        (lambda code: changed(code, chain=bytes(8)), "other_chain"),
        (lambda code: changed(code, base="https://explorer.evil.example"), "foreign_host"),
        (lambda code: changed(code, base="http://explorer.example"), "foreign_host"),
        (lambda code: code.text.replace("FTP", "FТP"), "lookalike_number"),
        (lambda code: code.text.replace("000001", "00000l"), "lookalike_number"),
        (lambda code: "https://pay.example/00020101021226", "foreign_code"),
        (lambda code: "https://explorer.example/certificate/FTP-2026-06-000001", "foreign_code"),
    ],
    ids=["forged", "chain", "host", "scheme", "cyrillic", "letter-l", "payment", "no-mark"],
)
def test_what_does_not_match_ends_with_status_3_and_its_reason(
    asked: Asked, make: Callable[[MarkCode], str], reason: str
) -> None:
    text = make(licensed().code())
    for source in (text, qr(text)):
        status, error = asked(licensed(), source)
        assert (status, error["reason"]) == (Exit.VERIFICATION_FAILED, reason)


def qr(text: str) -> bytes:
    """Return a picture of a code that anybody can make."""
    target = BytesIO()
    segno.make_qr(text).save(target, kind="png", scale=6)
    return target.getvalue()


def several() -> bytes:
    """Return a picture with two codes."""
    sheet = Image.new("L", (900, 450), 255)
    for place in range(2):
        sheet.paste(Image.open(BytesIO(qr(f"https://a.example/{place}"))).convert("L"), (450 * place, 0))
    target = BytesIO()
    sheet.save(target, "PNG")
    return target.getvalue()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"no picture", "not_a_picture"),
        (several(), "several_codes"),
        (qr("x")[:80], "not_a_picture"),
    ],
    ids=["text", "several", "cut"],
)
def test_a_picture_that_says_nothing_is_an_error_with_its_reason(asked: Asked, data: bytes, reason: str) -> None:
    status, error = asked(licensed(), data)
    assert (status, error["reason"]) == (Exit.ERROR, reason)


def test_a_stale_bundle_is_told_as_that(asked: Asked) -> None:
    status, error = asked(licensed(), licensed().code().text, "--fresh", "1s")
    assert (status, error["reason"]) == (Exit.VERIFICATION_FAILED, "stale_status")


def test_a_damaged_bundle_is_told_as_that(asked: Asked) -> None:
    proofs = licensed().proofs()
    for place in range(4):
        lines = proofs[place].splitlines(keepends=True)
        lines[1] = lines[1].swapcase()
        damaged = [*proofs[:place], "".join(lines), *proofs[place + 1 :]]
        assert asked(licensed(), licensed().code().text, proofs=damaged)[0] == Exit.VERIFICATION_FAILED


@pytest.mark.parametrize(
    "words",
    [
        ["--offline", "b"],
        ["--offline", "b", "--policy", "p"],
        ["--offline", "b", "--url", SITE],
        ["--fresh", "1h"],
        ["--covers", "contact"],
        ["--url", "explorer"],
        ["--offline", "b", "--policy", "p", "--url", SITE, "--from-epoch", "1"],
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(words: list[str]) -> None:
    assert run(["--endpoint", "http://127.0.0.1:1", "cert", "scan", licensed().code().text, *words]) == Exit.USAGE


def test_a_file_that_is_not_there_is_not_found() -> None:
    assert run(["--endpoint", "http://127.0.0.1:1", "cert", "scan", "/no/such.png"]) == Exit.NOT_FOUND


@pytest.mark.parametrize(
    "said",
    ["hello", "", NUMBER, "1.abc0f8f970a6e3a3.7e85ac4e69bb664e0860fe563a879608", "a" * 5_000, "x\0y", "mark.a-b"],
)
def test_what_is_neither_a_file_nor_a_code_is_wrong_usage(said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--endpoint", "http://127.0.0.1:1", "cert", "scan", said]) == Exit.USAGE
    assert "neither a file nor the code of a mark" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["mark.png", "folder/mark", "photo.jpeg"])
def test_a_picture_that_is_not_there_is_not_found(name: str) -> None:
    assert run(["--endpoint", "http://127.0.0.1:1", "cert", "scan", name]) == Exit.NOT_FOUND


# --- with a node


def answers_from(node: Node, found: MarkChain) -> None:
    """Let the fake answer as a node over this chain would."""
    unused: Any = None
    places = Index(MemoryStore())
    follower = IndexFollower(places, found.reader)
    while follower.follow():
        pass
    services = Services(found.reader, unused, unused, lambda: found.now_ms, index=IndexReader(found.reader, places))

    def answer(method: Any) -> Callable[[dict[str, Any]], Any]:
        def respond(params: dict[str, Any]) -> Any:
            try:
                return msgspec.to_builtins(ask(method, services, **params))
            except RpcError as error:
                return {"code": int(error.code), "message": str(error), "data": {"reason": error.reason}}

        return respond

    methods = {
        "cert_getStatus": get_certificate_status,
        "cert_getMark": get_mark,
        "cert_getMisuse": get_misuse,
        "cert_listMisuse": list_misuse,
        "cert_markEvents": mark_events,
    }
    node.answers |= {name: answer(method) for name, method in methods.items()}


def scanned(
    found: MarkChain, node: Node, address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[int, dict[str, Any]]:
    """Run a command against the fake; return the exit status and what it said."""
    answers_from(node, found)
    (tmp_path / "policy").write_text(found.policy())
    status = run(["-o", "json", "--endpoint", f"http://{address}", "cert", *words])
    told = capsys.readouterr()
    return status, json.loads(told.out) if told.out else json.loads(told.err.splitlines()[-1])["error"]


def test_a_mark_that_is_drawn_scans_against_the_node_that_drew_it(
    node: Node, address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = licensed()
    for name in ("mark.png", "mark.svg"):
        words = ("mark", "qr", NUMBER, "-f", str(tmp_path / name), "--policy", str(tmp_path / "policy"))
        status, row = scanned(found, node, address, tmp_path, capsys, *words)
        assert status == Exit.OK
        assert parse_mark_code(row["code"]).base == f"http://{address}"
    policy = ("--policy", str(tmp_path / "policy"))
    status, row = scanned(found, node, address, tmp_path, capsys, "scan", str(tmp_path / "mark.png"), *policy)
    assert (status, row["status"], row["licensed"], row["height"]) == (Exit.OK, "valid", True, found.chain.height)
    words = ("scan", str(tmp_path / "mark.png"), "--url", SITE, *policy)
    assert scanned(found, node, address, tmp_path, capsys, *words)[1]["reason"] == "foreign_host"


def test_a_mark_of_no_certificate_is_not_found_by_a_node_either(
    node: Node, address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = licensed()
    code = MarkCode(f"http://{address}", NEVER, found.code().chain, found.code().hash)
    words = ("scan", code.text, "--policy", str(tmp_path / "policy"))
    status, row = scanned(found, node, address, tmp_path, capsys, *words)
    assert (status, row["exists"]) == (Exit.NOT_FOUND, False)


def test_a_mark_bundle_is_what_scanning_offline_takes(
    node: Node, address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], asked: Asked
) -> None:
    found = licensed()
    words = ("mark", "bundle", NUMBER, "-f", str(tmp_path / "m"), "--policy", str(tmp_path / "policy"))
    status, row = scanned(found, node, address, tmp_path, capsys, *words)
    assert (status, row["proofs"]) == (Exit.OK, 4)
    assert (tmp_path / "m").read_text() == "".join(found.proofs())


def test_a_mark_that_may_not_be_used_is_not_drawn(
    node: Node, address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for since in (withdrawn, suspended):
        words = ("mark", "qr", NUMBER, "-f", str(tmp_path / "mark.png"), "--policy", str(tmp_path / "policy"))
        assert scanned(chain(since), node, address, tmp_path, capsys, *words)[0] == Exit.USAGE
    assert not (tmp_path / "mark.png").exists()


def test_a_mark_of_no_certificate_is_not_drawn_nor_one_that_a_node_makes_up(
    node: Node, address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("mark", "qr", NEVER, "-f", str(tmp_path / "mark.png"), "--policy", str(tmp_path / "policy"))
    assert scanned(licensed(), node, address, tmp_path, capsys, *words)[0] == Exit.NOT_FOUND
    (tmp_path / "other").write_text(SchemeChain(validators=5).policy())
    words = ("mark", "qr", NUMBER, "-f", str(tmp_path / "mark.png"), "--policy", str(tmp_path / "other"))
    assert scanned(licensed(), node, address, tmp_path, capsys, *words)[0] == Exit.VERIFICATION_FAILED
    assert not (tmp_path / "mark.png").exists()


def test_a_mark_is_shown_with_its_uses_and_reports(
    node: Node, address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = chain(
        lambda c: c.act("bank-a", "first", USE),
        lambda c: c.act("bank-b", "first", REPORT),
        lambda c: c.act("bank-b", "first", replace(REPORT, number=None, product="Terminal X")),
    )
    status, row = scanned(found, node, address, tmp_path, capsys, "mark", "show", NUMBER)
    assert (status, row["standing"], [use["medium"] for use in row["uses"]]) == (Exit.OK, "licensed", ["packaging"])
    status, row = scanned(found, node, address, tmp_path, capsys, "mark", "misuse", "1")
    assert (row["misuse"], row["reporter"]) == ("beyond_scope", "bank-b")
    assert scanned(found, node, address, tmp_path, capsys, "mark", "misuse", "3")[0] == Exit.NOT_FOUND
    assert run(["--endpoint", f"http://{address}", "cert", "mark", "show", NUMBER]) == Exit.OK


def test_reports_of_misuse_and_the_events_about_a_mark_are_listed_by_pages(
    node: Node, address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = chain(
        lambda c: c.act("bank-b", "first", REPORT),
        lambda c: c.act("bank-b", "first", replace(REPORT, number=None, product="Terminal X")),
        lambda c: c.act("regulator", "first", DECIDE),
    )

    def told(*words: str) -> tuple[int, dict[str, Any]]:
        return scanned(found, node, address, tmp_path, capsys, "mark", *words)

    status, page = told("reports")
    assert (status, [row["report"] for row in page["reports"]]) == (Exit.OK, [2, 1])
    assert [row["report"] for row in told("reports", "--state", "undecided")[1]["reports"]] == [2]
    assert [row["report"] for row in told("reports", "--number", NUMBER, "--member", "bank-a")[1]["reports"]] == [1]
    first = told("reports", "--limit", "1", "--order", "asc")[1]
    assert [row["report"] for row in told("reports", "--cursor", first["cursor"])[1]["reports"]] == [2]
    status, error = told("reports", "--member", "nosuch")
    assert (status, "chainnode member list" in error["message"]) == (Exit.NOT_FOUND, True)
    kinds = [event["kind"] for event in told("events", NUMBER)[1]["events"]]
    assert kinds == ["mark.license", "mark.report_misuse", "mark.decide_misuse"]
    assert run(["--endpoint", f"http://{address}", "cert", "mark", "reports"]) == Exit.OK
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split() == ["REPORT", "ABOUT", "MEDIUM", "MISUSE", "REPORTER", "STATE", "TIME"]
    assert shown[2].split()[:6] == ["1", NUMBER, "web", "beyond_scope", "bank-b", "confirmed"]
    assert run(["--endpoint", f"http://{address}", "cert", "mark", "events", NUMBER]) == Exit.OK


def test_the_members_decide_whether_the_mark_may_be_used_in_promotion() -> None:
    found = MarkChain()
    promoted = Use(Medium.PROMOTION, SCOPE[:1])
    for rule, breach in (("notice", None), ("strict", "mark_promotion")):
        found.vote(found.propose(SetSchemePolicy(None, MarkUse(rule), None, None, None)), 0, 1, 2)
        if breach is None:
            found.licensed(Medium.PROMOTION)
        found.stable()
        verdict = judged(found, promoted)
        assert (verdict.rule, verdict.standing, verdict.breach) == (rule, MarkStanding.LICENSED, breach)
