"""Actions of governance as people write and read them: the JSON of a proposal, and a line that says what it would do.

Here: which kind of event proposes an action, and its sentence. Not here: what an action is
(`ledger.governance_bodies`), JSON of records in general (`ledger.event_json`), whether it may be taken
(`ledger.governance_rules`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, get_args

from ledger.event_json import record_from_json
from ledger.governance_bodies import Action, Amend, Amendment, PaymentAction, Propose, Regulate, SchemeAction, Steer
from ledger.times import format_time
from primitives.encoding import Record
from primitives.errors import InputError

Json = Mapping[str, Any]  # Any: JSON of an action


def _types(union: object) -> tuple[str, ...]:
    return tuple(item.__struct_config__.tag for item in get_args(union))


AMENDMENTS: Final = _types(Amendment)
"""The types that came with the second rules, which an event of a kind of its own proposes."""
SCHEME_ACTIONS: Final = _types(SchemeAction)
"""The types that came with the third rules, likewise."""
PAYMENT_ACTIONS: Final = _types(PaymentAction)
"""The types that came with the fourth rules, likewise."""
ACTION_TYPES: Final = (*_types(Action), *AMENDMENTS, *SCHEME_ACTIONS, *PAYMENT_ACTIONS)


def proposing_body(action: Json, expires_ms: int, *, where: str) -> Propose | Amend | Steer | Regulate:
    """Return the body of the event that proposes an action. Raises InputError with the path of what is wrong."""
    found = action.get("type")
    if found not in ACTION_TYPES:
        raise InputError("unknown type", where=f"{where}.action.type", expected=" or ".join(ACTION_TYPES), got=found)
    bodies = ((AMENDMENTS, Amend), (SCHEME_ACTIONS, Steer), (PAYMENT_ACTIONS, Regulate))
    type_: type[Record] = next((body for types, body in bodies if found in types), Propose)
    body = record_from_json(type_, {"action": action, "expires": format_time(expires_ms)}, where=where)
    assert isinstance(body, Propose | Amend | Steer | Regulate)
    return body


def sentence_of(action: Json) -> str:
    """Return what an action would do, for a person."""
    match action:
        case {"type": "add_validator", "name": name, "member": member}:
            return f"add {name} of {member}"
        case {"type": "remove_validator", "name": name}:
            return f"remove {name}"
        case {"type": "rekey_validator", "name": name}:
            return f"new keys for {name}"
        case {"type": "activate_rules", "version": version, "height": height}:
            return f"rules {version} from height {height}"
        case {"type": "add_member", "member": {"id": name, "name": title}}:
            return f"admit {name} ({title})"
        case {"type": "exclude_member", "member": member}:
            return f"exclude {member}"
        case {"type": "add_source", "member": member, "key": key}:
            return f"add source {key[:16]} of {member}"
        case {"type": "remove_source", "key": key}:
            return f"remove source {key[:16]}"
        case {"type": "set_officers", "member": member}:
            return f"other officers for {member}"
        case _:
            return _amendment(action)


def _amendment(action: Json) -> str:
    match action:
        case {"type": "set_roles", "member": member, "roles": roles}:
            return f"roles of {member}: {', '.join(roles)}"
        case {"type": "set_source_roles", "key": key, "roles": roles}:
            return f"roles of source {key[:16]}: {', '.join(roles)}"
        case {"type": "replace_ca", "member": member, "keeps_old": keeps_old}:
            return f"another root CA for {member}" + ("" if keeps_old else ", and no other")
        case {"type": "change_policy", "figures": figures, "height": height}:
            changed = ", ".join(f"{figure['name']} = {figure['value']}" for figure in figures)
            return f"policy {changed}" + (f" from height {height} on" if height else "")
        case {"type": "add_catalogue", "version": version, "categories": categories}:
            return f"catalogue {version} with {len(categories)} categories"
        case {"type": "set_threshold", "action": type_, "share": share}:
            return f"{share.replace('_', ' ')} decide on {type_}"
        case _:
            return _scheme_action(action)


def _scheme_action(action: Json) -> str:
    match action:
        case {"type": "accredit", "member": member, "role": role, "categories": categories, "valid_until": until}:
            return f"accredit {member} as {role} for {_categories(categories)} until {until[:10]}"
        case {"type": "end_accreditation", "member": member, "role": role, "from": from_, "reason": reason}:
            return f"end the accreditation of {member} as {role} from {from_[:10]} on: {reason}"
        case {"type": "set_scheme_policy", **figures} if figures:
            changed = [f"{name} = {value}" for name, value in figures.items() if value is not None]
            return f"policy of the scheme {', '.join(changed)}"
        case {"type": "set_standards", "version": version, "categories": categories}:
            return f"standards of catalogue {version}, {_categories([item['number'] for item in categories])}"
        case {"type": "set_voucher_policy", **figures} if figures:
            changed = [f"{name} = {json.dumps(value)}" for name, value in figures.items() if value is not None]
            return f"limits of vouchers {', '.join(changed)}"
        case {"type": "suspend_wallet", "wallet": wallet}:
            return f"suspend wallet {wallet[:16]} for good"
        case _:
            return str(action.get("type"))


def _categories(numbers: Sequence[int]) -> str:
    noun = "category" if len(numbers) == 1 else "categories"
    return f"{noun} {', '.join(map(str, numbers))}"
