"""Reading of single elements: amounts, agents, parties, references and dates, each checked where it is read.

What makes up a transaction of each message type is in `chainnode.ingest.iso20022_types`. Element names are those of
the ISO 20022 message definitions; where versions differ, both names are tried (BIC before version 3, BICFI since).
"""

from __future__ import annotations

import re
from functools import lru_cache

from chainnode.ingest.errors import MessageError, without_value
from chainnode.ingest.iso20022_xml import Node
from chainnode.ingest.parsed import Agent, Amount, Party
from chainnode.ingest.references import (
    MEMORY_ENTRIES,
    check_bic,
    check_cnaps,
    check_iban,
    check_lei,
    check_uetr,
)
from ledger.currencies import EXPONENTS, minor_units
from ledger.payments import CNAPS_PATTERN, AgentRole, AgentScheme, Channel
from ledger.times import parse_date, parse_time
from primitives.errors import InputError
from primitives.ids import TimeMs

REFERENCE_LENGTH_MAX = 35  # Max35Text
SUM_DECIMALS = 5  # ISO 20022 amounts have at most five; sums are kept as integers of this unit

EXTERNAL_CODE_LENGTH_MAX = 4  # Max4Text of ISO 20022's external code lists

_REASON = re.compile(r"[A-Z0-9]{4}")
_UNITS = tuple(int("1".ljust(SUM_DECIMALS - exponent + 1, "0")) for exponent in range(SUM_DECIMALS + 1))
_SUM = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,17}))?", re.ASCII)
_CHANNELS = {"HVPS": Channel.HVPS, "BEPS": Channel.BEPS, "CIPS": Channel.CIPS}
_CNAPS = re.compile(CNAPS_PATTERN)
_CHECKS = {AgentScheme.BIC: check_bic, AgentScheme.CNAPS: check_cnaps, AgentScheme.LEI: check_lei}


def line_of(node: Node) -> str:
    """Return where an element stands, for an error."""
    return f"line {node.line} ({node.tag})"


def required(node: Node, *path: str) -> Node:
    """Return the element at a path; MessageError where it is missing."""
    found = node.one(*path)
    if found is None:
        raise MessageError("element missing", where=line_of(node), expected="/".join(path), got="none")
    return found


def required_text(node: Node, *path: str, length_max: int = REFERENCE_LENGTH_MAX) -> str:
    """Return the text at a path; MessageError where it is missing, empty or too long."""
    found = required(node, *path)
    return _limited(found, found.text.strip(), length_max, empty_allowed=False)


def optional_text(node: Node, *path: str, length_max: int = REFERENCE_LENGTH_MAX) -> str:
    """Return the text at a path, empty where there is none; MessageError where it is too long."""
    found = node.one(*path)
    return "" if found is None else _limited(found, found.text.strip(), length_max, empty_allowed=True)


def _limited(node: Node, text: str, length_max: int, *, empty_allowed: bool) -> str:
    if len(text) > length_max or not (text or empty_allowed):
        expected = f"1 to {length_max} characters"
        raise MessageError("text has a wrong length", where=line_of(node), expected=expected, got=len(text))
    return text


def read_amount(node: Node) -> Amount:
    """Return the amount of an element with a `Ccy` attribute; MessageError for bad digits, decimals or currency."""
    if node.currency is None:
        raise MessageError("currency missing", where=line_of(node), expected="the attribute Ccy", got="none")
    try:
        return Amount(minor_units(node.text.strip(), node.currency, where=line_of(node)), node.currency)
    except InputError as error:
        raise (error if node.currency in EXPONENTS else without_value(error, node.currency)) from None


def optional_amount(node: Node, *path: str) -> Amount | None:
    """Return the amount at a path, or None."""
    found = node.one(*path)
    return None if found is None else read_amount(found)


def in_sum_units(amount: Amount) -> int:
    """Return an amount as an integer of 0.00001, the unit of control sums."""
    return amount.minor * _UNITS[EXPONENTS[amount.currency]]


def read_sum(node: Node) -> int:
    """Return a control sum as an integer of 0.00001; MessageError where it is no decimal number of that precision."""
    text = node.text.strip()
    match = _SUM.fullmatch(text)
    fraction = (match.group(2) or "").rstrip("0") if match else ""
    if match is None or len(fraction) > SUM_DECIMALS:
        got = f"{len(text)} characters"
        raise MessageError("not a control sum", where=line_of(node), expected="a decimal number", got=got)
    return int(match.group(1)) * _UNITS[0] + int(fraction.ljust(SUM_DECIMALS, "0"))


def read_date(node: Node, *path: str) -> int:
    """Return the date at a path as YYYYMMDD, 0 where there is none."""
    found = node.one(*path)
    if found is None:
        return 0
    text = found.text.strip()
    try:
        return parse_date(text, where=line_of(found))
    except InputError as error:
        raise without_value(error, text) from None


def read_time(node: Node, offset_minutes: int) -> TimeMs:
    """Return the time that an element holds; without an offset it is taken at `offset_minutes` east of UTC."""
    text = node.text.strip()
    try:
        return parse_time(text, where=line_of(node), default_offset_minutes=offset_minutes)
    except InputError as error:
        raise without_value(error, text) from None


def read_uetr(node: Node, *path: str) -> bytes:
    """Return the UETR at a path, empty where there is none."""
    found = node.one(*path)
    return b"" if found is None else check_uetr(found.text.strip(), where=line_of(found))


def read_institution(node: Node | None, role: AgentRole) -> Agent | None:
    """Return the institution that a FinancialInstitutionIdentification in `node` names by code, or None.

    A BIC goes before a CNAPS code and that before an LEI; names and other identifiers name nobody here.
    """
    identification = None if node is None else node.one("FinInstnId")
    if identification is None:
        return None
    bic = identification.text_at("BICFI") or identification.text_at("BIC")
    if bic:
        return _known_agent(role, bic) or _agent(role, AgentScheme.BIC, bic, identification)
    clearing = identification.one("ClrSysMmbId")
    if clearing is not None:
        system, number = clearing.text_at("ClrSysId", "Cd"), clearing.text_at("MmbId")
        if system == "CNAPS" or (not system and _CNAPS.fullmatch(number)):
            return _agent(role, AgentScheme.CNAPS, number, identification)
    lei = identification.text_at("LEI")
    return _agent(role, AgentScheme.LEI, lei, identification) if lei else None


def _agent(role: AgentRole, scheme: AgentScheme, code: str, node: Node) -> Agent:
    return Agent(role, scheme, _CHECKS[scheme](code, where=line_of(node)))


@lru_cache(maxsize=MEMORY_ENTRIES)
def _known_agent(role: AgentRole, code: str) -> Agent | None:
    """Return the agent that a BIC names, remembered, or None for a wrong one: a file has few, many times."""
    try:
        return Agent(role, AgentScheme.BIC, check_bic(code))
    except InputError:
        return None


def read_agents(*places: tuple[AgentRole, Node | None]) -> tuple[Agent, ...]:
    """Return the agents found at the given places, ascending by role; the first place of a role that names one wins."""
    found: dict[AgentRole, Agent] = {}
    for role, node in places:
        if role not in found:
            agent = read_institution(node, role)
            if agent is not None:
                found[role] = agent
    return tuple(found[role] for role in sorted(found))


def read_party(node: Node, name: str) -> Party:
    """Return the customer under `name` (`Dbtr`, `Cdtr`) and the account beside it."""
    party = node.one(name)
    text = "" if party is None else party.text_at("Nm") or party.text_at("Pty", "Nm")
    account = node.one(name + "Acct", "Id")
    return Party(text, "" if account is None else _account_number(account))


def _account_number(account: Node) -> str:
    iban = account.one("IBAN")
    if iban is None:
        return account.text_at("Othr", "Id")
    return check_iban(iban.text.strip(), where=line_of(iban))


def read_remittance(node: Node) -> str:
    """Return all remittance text and structured references of a transaction, a line each."""
    remittance = node.one("RmtInf")
    if remittance is None:
        return ""
    lines = [text.text.strip() for text in remittance.all("Ustrd")]
    lines += [structured.text_at("CdtrRefInf", "Ref") for structured in remittance.all("Strd")]
    return "\n".join(line for line in lines if line)


def read_reason(node: Node | None) -> str:
    """Return the reason code of a status or return reason: the code, NARR for a proprietary one, empty for none."""
    reason = None if node is None else node.one("Rsn")
    if reason is None:
        return ""
    code = optional_text(reason, "Cd")
    if len(code) > EXTERNAL_CODE_LENGTH_MAX or not (code.isascii() and (code.isalnum() or not code)):
        expected = f"1 to {EXTERNAL_CODE_LENGTH_MAX} letters or digits"
        raise MessageError("not a reason code", where=line_of(reason), expected=expected, got=f"{len(code)} characters")
    return reason_code(code)


def reason_code(code: str) -> str:
    """Return a code that stands in a statement as it is, or NARR: what is proprietary may be text, and stays behind."""
    return code if _REASON.fullmatch(code) else "NARR"


def read_channel(settlement: Node | None) -> Channel:
    """Return the clearing system that settles, where it is one of China's."""
    system = None if settlement is None else settlement.one("ClrSys")
    if system is None:
        return Channel.NONE
    return _CHANNELS.get(system.text_at("Cd") or system.text_at("Prtry"), Channel.NONE)
