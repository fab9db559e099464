"""cert_deadlines: what falls due, as of now, of a time or of a height; and what it refuses."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from ledger.deadlines import LISTED, NOTICES, DueKind
from ledger.times import format_time, parse_time
from rpc.methods.deadlines import KindName
from tests.rpc.test_records import NUMBER, granted, submit  # noqa: F401  fixtures

DAY_MS = 86_400_000
FAR = {"within_days": 36_500}


def test_the_kinds_of_the_api_are_those_of_the_ledger_but_proposals() -> None:
    assert set(get_args(KindName)) == {*NOTICES, *LISTED} == set(DueKind) - {DueKind.PROPOSAL_EXPIRED}


async def _ends_ms(client: Any) -> int:
    return parse_time((await client.call("cert_get", [NUMBER]))["certificate"]["valid_until"], where="")


async def kinds(client: Any, **params: Any) -> list[tuple[str, str]]:
    """Return kind and level of each item of a list."""
    answer = await client.call("cert_deadlines", params)
    return [(item["kind"], item["level"]) for item in answer["deadlines"]]


async def test_an_item_says_what_is_due_when_and_who_is_to_do_what(client, node, granted) -> None:  # noqa: F811
    answer = await client.call("cert_deadlines", {**FAR, "kind": "certificate_expired"})
    end_ms = await _ends_ms(client)
    assert answer["deadlines"] == [
        {
            "kind": "certificate_expired",
            "subject": NUMBER,
            "member": "bank-a",
            "body": "cb",
            "due": format_time(end_ms),
            "days_left": (end_ms - node.now) // DAY_MS,
            "level": "ahead",
            "next": "apply for a renewal (`cert renew`), unless it is under way",
            "by": "bank-a",
        }
    ]
    assert (answer["as_of"], answer["time"]) == (node.chain.height, format_time(node.now))


async def test_a_certificate_goes_from_ahead_through_its_notices_to_its_end(client, node, granted) -> None:  # noqa: F811
    end_ms = await _ends_ms(client)
    for days, kind in ((180, "expiring_180"), (90, "expiring_90"), (30, "expiring_30")):
        for ahead_ms, level in ((1, "ahead"), (0, "open")):
            node.now = end_ms - days * DAY_MS - ahead_ms
            assert await kinds(client, kind=kind, within_days=1) == [(kind, level)]
    node.now = end_ms - 180 * DAY_MS - 1
    assert await kinds(client, within_days=0) == []
    node.now += 1
    assert await kinds(client, within_days=0) == [("renewal_opened", "open")]
    node.now = end_ms - 1
    assert await kinds(client, within_days=1) == [("renewal_opened", "open"), ("certificate_expired", "ahead")]
    node.now = end_ms
    assert await kinds(client, **FAR) == []


async def test_a_suspension_past_its_end_is_overdue_and_its_body_is_to_act(client, node, granted, submit) -> None:  # noqa: F811
    until_ms = node.now + 10 * DAY_MS
    suspended = {"number": NUMBER, "reason": "late", "until": format_time(until_ms)}
    assert (await submit("cb", "source", "certificate.suspend", suspended))["outcome"]["applied"]
    asked = {"kind": "suspension_ended", **FAR}
    for now, level in ((until_ms - 1, "ahead"), (until_ms, "overdue")):
        node.now = now
        [item] = (await client.call("cert_deadlines", asked))["deadlines"]
        assert (item["level"], item["by"], item["days_left"]) == (level, "cb", 0)
    height, node.now = node.chain.height, until_ms - 10_000
    restored = {"number": NUMBER, "evidence": [evidence()]}
    told = await submit("cb", "source", "certificate.restore", restored)
    assert told["outcome"]["applied"], told
    assert await kinds(client, **asked) == []
    assert await kinds(client, **asked, at=height) == [("suspension_ended", "ahead")]
    assert await kinds(client, **asked, at=format_time(until_ms - 9_501)) == [("suspension_ended", "ahead")]
    assert await kinds(client, **asked, at=format_time(until_ms - 9_500)) == [], "from the block on that restored it"


def evidence() -> dict[str, Any]:
    return {"kind": "corrective_action", "digest": "ab" * 32, "custodian": "bank-a", "size_bytes": 10}


async def test_a_list_may_be_of_one_member_and_up_to_a_time(client, node, granted) -> None:  # noqa: F811
    end_ms = await _ends_ms(client)
    for member, count in (("bank-a", 1), ("cb", 1), ("bank-b", 0)):
        assert len(await kinds(client, **FAR, kind="certificate_expired", member=member)) == count
    for until_ms, count in ((end_ms - 1, 0), (end_ms, 1)):
        assert len(await kinds(client, kind="certificate_expired", until=format_time(until_ms))) == count


async def test_pages_join_and_a_cursor_of_another_list_is_refused(client, node, granted) -> None:  # noqa: F811
    whole = (await client.call("cert_deadlines", FAR))["deadlines"]
    assert len(whole) == 2
    first = await client.call("cert_deadlines", {**FAR, "limit": 1})
    rest = await client.call("cert_deadlines", {**FAR, "limit": 1, "cursor": first["cursor"]})
    assert [*first["deadlines"], *rest["deadlines"]] == whole
    assert rest["cursor"] is None
    error = await client.error("cert_deadlines", {"within_days": 9, "cursor": first["cursor"]})
    assert error["data"]["reason"] == "bad_cursor"


@pytest.mark.parametrize(
    ("params", "reason", "where"),
    [
        ({"kind": "proposal_expired"}, "invalid_params", "$.kind"),
        ({"within_days": -1}, "invalid_params", "$.within_days"),
        ({"within_days": 1, "until": "2027-01-01T00:00:00Z"}, "invalid_params", "$.until"),
        ({"until": "soon"}, "bad_input", "$.until"),
        ({"at": "2090-01-01T00:00:00Z"}, "invalid_params", "$.at"),
        ({"at": "1990-01-01T00:00:00Z"}, "not_found", "$.at"),
        ({"at": 1_000_000}, "not_found", "$.height"),
    ],
)
async def test_what_cannot_be_listed_is_refused_by_name(client, node, params, reason, where) -> None:
    node.commit_events(1)
    error = await client.error("cert_deadlines", params)
    assert (error["data"]["reason"], error["data"]["where"]) == (reason, where)


async def test_an_index_that_is_behind_says_so(client, node) -> None:
    error = await client.error("cert_deadlines", {})
    assert error["data"]["reason"] == "index_behind", "it has not begun"
    node.commit_events(1)
    follow, node.index.follow = node.index.follow, lambda: 0
    node.commit_events(1, first=5)
    error = await client.error("cert_deadlines", {"at": int(node.chain.height)})
    assert (error["data"]["reason"], error["data"]["retryable"]) == ("index_behind", True)
    assert (await client.call("cert_deadlines", {}))["as_of"] == node.chain.height - 1
    node.index.follow = follow
    node.index.follow()
    assert (await client.call("cert_deadlines", {}))["as_of"] == node.chain.height
