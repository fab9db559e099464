"""The answer of `gov_checkAction` in words: what a change would do, before it is proposed or voted for.

Not here: what it is made of (`ledger.consequences`, `rpc.methods.gov_check`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Json = Mapping[str, Any]  # Any: JSON values
SHARES = {"third": "a third", "majority": "half", "two_thirds": "two thirds"}


def sentences(check: Json) -> Iterator[str]:
    """Yield a line for each thing that members should know before they vote."""
    broken = check["broken"]
    if broken is not None:
        yield f"the chain would refuse it now: {broken['meaning']} (rule {broken['rule']}) {broken['detail']}".rstrip()
        return
    votes = check["votes"]
    share = SHARES.get(votes["share"], votes["share"])
    yield f"{votes['votes_needed']} of {len(votes['voters'])} members must approve (more than {share})"
    yield _quorum(check["present"], check["following"])
    yield _liveness(check["liveness"])
    for change in check["changes"]:
        yield f"changes {change['what']}: {change['before'] or 'nothing'} -> {change['after'] or 'nothing'}"
    for warning in check["warnings"]:
        yield f"warning ({warning['code']}): {warning['text']}"
    for item in check["ending"]:
        what = item["kind"].replace("_", " ")
        yield f"ends {item['ends']}: {what} of {item['name']} ({item['where']}), {item['days_left']} days left"


def _quorum(present: Json, following: Json | None) -> str:
    if following is None:
        return f"the validators stay: n {present['n']}, f {present['f']}, quorum {present['quorum']}"
    steps = (
        f"{name} {present[key]} -> {following[key]}" for name, key in (("n", "n"), ("f", "f"), ("quorum", "quorum"))
    )
    return f"the validators change: {', '.join(steps)}"


def _liveness(liveness: Json) -> str:
    silent = ", ".join(f"{item['name']} ({item['why']})" for item in liveness["silent"])
    seen = f"{len(liveness['up'])} of {liveness['n']} are up, {liveness['quorum']} decide"
    return seen + (f"; not up: {silent}" if silent else "")
