"""The texts of both languages: the same keys and places, none missing, none left over, a word for every closed set."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from enum import Enum
from itertools import chain
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

import ledger.consequences
import rpc.explorer
from ledger.accreditations import TermStatus
from ledger.catalogue import EvidenceKind
from ledger.certificate_records import Status as CertificateStatus
from ledger.deadlines import Level
from ledger.evidence_bodies import TYPES as EVIDENCE_TYPES
from ledger.governance_actions import ACTION_TYPES
from ledger.governance_records import Stage
from ledger.inspection_closing import TOO_FEW
from ledger.inspection_events import NOT_REVEALED
from ledger.inspection_records import Phase
from ledger.mark_bodies import Medium, Misuse
from ledger.mark_errors import ForeignCode, ForgedMark, OtherChain
from ledger.mark_records import MarkStanding
from ledger.members import CERTIFICATION_ROLE, GOVERNANCE_ROLE, Role
from ledger.payments import AgentRole, Channel, PaymentStatement, Side, Status, TokenField
from ledger.payments_json import word
from ledger.policy import Policy
from ledger.registry import KINDS
from ledger.scheme_policy import MarkUse, RegisterImports
from ledger.scheme_records import Negative
from ledger.thresholds import Share
from rpc.explorer.language import LANGUAGES, choose_language, texts
from rpc.explorer.lives import BEFORE
from rpc.explorer.proofs import COMMON, completeness_steps, history_steps
from rpc.methods.deadlines import KindName
from rpc.methods.misuse import MisuseState
from rpc.methods.reconciliation import StandingName
from rpc.methods.search import HitKind
from rpc.ports import SubmitStatus

FOLDER = Path(rpc.explorer.__file__).parent
FILES = [*FOLDER.glob("templates/*.html"), *FOLDER.glob("*.py"), FOLDER.parent / "login.py"]
SOURCES = "\n".join(path.read_text("utf-8") for path in FILES)
CONSEQUENCES = Path(ledger.consequences.__file__).read_text("utf-8")
SEARCH = (FOLDER.parent / "methods" / "search.py").read_text("utf-8")
# Keys that are put together; the sets behind them are checked by name below.
PUT_TOGETHER = (
    *(
        "nav",
        "reconciliation",
        "theme",
        "hit",
        "by",
        "step",
        "value",
        "proof",
        "error",
        "role",
        "node_role",
        "negative",
        "officer_role",
        "check",
        "kind",
        "mark_standing",
        "mark_use",
        "register_imports",
        "medium",
        "misuse",
        "misuse_state",
        "scanned",
    ),
    *(
        "accreditation",
        "action",
        "mark_rule",
        "phase",
        "stage",
        "void",
        "share",
        "warning",
        "ending",
        "due_kind",
        "due_next",
        "level",
        "figure_name",
        "consistency",
        "part",
        "where",
        "means",
    ),
    *("status", "payment_status", "side", "channel", "agent_role", "evidence_kind", "field", "signature", "standing"),
)


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_all_languages_have_the_same_keys_and_places() -> None:
    english = texts("en")
    for language in LANGUAGES:
        found = texts(language)
        assert found.keys() == english.keys()
        assert {key: places(text) for key, text in found.items()} == {
            key: places(text) for key, text in english.items()
        }
        assert all(text.strip() == text and text for text in found.values())


def test_chinese_texts_are_chinese() -> None:
    neutral = {"member.title", "payment.by_uetr", "field.uetr", "field.digest"}
    han = re.compile(r"[\u4e00-\u9fff]")
    assert {key for key, text in texts("zh").items() if not han.search(text)} == neutral


def test_every_text_that_pages_ask_for_is_there_and_none_is_left_over() -> None:
    asked = set(re.findall(r"""\bt\(["']([a-z0-9_.]+[a-z0-9_])["']""", SOURCES))
    asked |= set(re.findall(r"""Page\(\s*"[a-z_]+\.html", "([a-z_.]+)\"""", SOURCES))
    known = set(texts("en"))
    assert asked - known == set()
    assert len(asked) > 250
    left = {key for key in known - asked if key.split(".")[0] not in PUT_TOGETHER}
    assert {key for key in left if not key.startswith("search.by.")} == set()


def fields_of(type_: Any, seen: set[Any]) -> Iterator[str]:  # Any: a record's type, or what its fields hold
    for inner in get_args(type_):
        yield from fields_of(inner, seen)
    if not (isinstance(type_, type) and issubclass(type_, msgspec.Struct)) or type_ in seen:
        return
    seen.add(type_)
    for field in msgspec.structs.fields(type_):
        yield field.name.removesuffix("_ms")
        yield from fields_of(field.type, seen)


def closed(group: str, names: Iterator[str] | list[str]) -> list[str]:
    return [f"{group}.{name}" for name in names]


def values(enum: type[Enum]) -> list[str]:
    return [str(member.value) for member in enum]


SETS = [
    *closed("kind", [spec.name for spec in KINDS.values()]),
    *closed("status", [*values(CertificateStatus), BEFORE]),
    *closed("role", values(Role)),
    *closed("evidence_kind", values(EvidenceKind)),
    *closed("standing", values(SubmitStatus)),
    *closed("hit", values(HitKind)),
    *closed("search.by", values(HitKind)),
    *closed("side", map(word, Side)),
    *closed("payment_status", map(word, Status)),
    *closed("channel", map(word, Channel)),
    *closed("agent_role", map(word, AgentRole)),
    *closed("field", map(word, TokenField)),
    *closed(
        "field",
        sorted(
            set(
                chain.from_iterable(
                    fields_of(type_, set()) for spec in KINDS.values() for type_ in spec.schemas.values()
                )
            )
        ),
    ),
    *chain.from_iterable(
        (f"step.{step.group}.title", f"step.{step.group}.text", *(f"value.{key}" for key, _ in step.values))
        for step in (*COMMON, *history_steps("", 0, ""), *completeness_steps(""))
    ),
    *closed(
        "by", re.findall(r'Hit\(HitKind\.\w+, [^,]+, "(\w+)"\)', (FOLDER.parent / "methods" / "search.py").read_text())
    ),
    *closed("by", ["id", "code", "name", "validator"]),
    *closed("negative", values(Negative)),
    *closed("officer_role", [GOVERNANCE_ROLE, CERTIFICATION_ROLE]),
    *closed("action", list(ACTION_TYPES)),
    *closed("phase", values(Phase)),
    *closed("void", [NOT_REVEALED, TOO_FEW]),
    *closed("stage", values(Stage)),
    *closed("reconciliation", list(get_args(StandingName))),
    *closed("accreditation", values(TermStatus)),
    *closed("mark_rule", values(MarkUse)),
    *closed("share", values(Share)),
    *closed("figure_name", list(Policy.__struct_fields__)),
    *closed("warning", ["no_quorum_up", *re.findall(r'Warning\(\s*"(\w+)"', CONSEQUENCES)]),
    *closed("ending", ["node_certificate", "rpc_certificate", "root_ca", "product_certificate"]),
    *closed("level", ["ok", "warning", "urgent", "ended", *values(Level)]),
    *closed("due_kind", list(get_args(KindName))),
    *closed("due_next", list(get_args(KindName))),
    *closed("part", ["absent", "archived", "stored"]),
    *closed("means", [KINDS[kind].name for kind in EVIDENCE_TYPES]),
    *closed("signature", ["log", "cosigner", "witness"]),
    *closed("node_role", ["validator", "observer", "learner"]),
    *closed("mark_standing", values(MarkStanding)),
    *closed("mark_use", values(MarkUse)),
    *closed("register_imports", values(RegisterImports)),
    *closed("medium", values(Medium)),
    *closed("misuse", values(Misuse)),
    *closed("misuse_state", list(get_args(MisuseState))),
    *closed("scanned", ["matches", ForgedMark.reason, OtherChain.reason, ForeignCode.reason]),
    *closed("check", ["not_halted", "quorum_linked", "caught_up"]),
]


def test_every_value_of_a_closed_set_has_a_word() -> None:
    missing = sorted({key for key in SETS if key not in texts("en")})
    assert missing == [], "give them words in rpc/explorer/texts/en.json and zh.json"
    assert "field.amount" in SETS
    assert issubclass(PaymentStatement, msgspec.Struct)


@pytest.mark.parametrize(
    ("asked", "kept", "accepted", "expected"),
    [
        (None, None, "", "en"),
        ("zh", "en", "en", "zh"),
        (None, "zh", "en", "zh"),
        ("xx", "yy", "zh-CN,en;q=0.8", "zh"),
        (None, None, "fr, en;q=0.5, zh;q=0.9", "zh"),
        (None, None, "zh;q=0, en;q=0.1", "en"),
        (None, None, "zh;q=x", "en"),
        (None, None, "zh;q=0", "en"),
        (None, None, "zh-Hans-CN", "zh"),
        (None, None, "," * 5_000 + "zh", "en"),
    ],
)
def test_the_language_is_the_one_asked_for_then_kept_then_accepted(
    asked: str | None, kept: str | None, accepted: str, expected: str
) -> None:
    assert choose_language(asked, kept, accepted) == expected
