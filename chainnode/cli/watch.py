"""`watch`: new blocks as they come, from a node that is held to one history.

Here: options, the policy and the file that remembers, the loop. Not here: judging checkpoints (`chainnode.watching`).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chainnode.cli.context import settings
from chainnode.cli.mirror import judged, open_sources
from chainnode.cli.output import line, say
from primitives.errors import InputError, UsageError

if TYPE_CHECKING:
    from chainnode.client import NodeClient
    from chainnode.log_source import LogSource
    from chainnode.monitoring import Trust
    from chainnode.watching import Memory, Watch

POLL_S = 0.25
BLOCKS_A_CALL = 100
METHOD_NOT_FOUND = -32601


@click.command()
@click.option("--from", "start", help="From this height, or behind this cursor, on. [default: the next block]")
@click.option("--count", type=click.IntRange(1), help="End after so many blocks.")
@click.option("--policy", "policy_file", type=click.Path(path_type=Path), help="The trusted policy. [default: genesis]")
@click.option("--state", "state_file", type=click.Path(path_type=Path), help="Remember here. [default: in the home]")
def watch(start: str | None, count: int | None, policy_file: Path | None, state_file: Path | None) -> None:
    """Follow new blocks, one line each, until interrupted. Status 3 where the log contradicts what it was before.

    Each checkpoint is verified under the policy, or the genesis in the home, and must extend the one remembered. Where
    the node goes away blocks go on behind the last one when it is back; the cursor to go on from is said at the end.
    """
    from chainnode.following import NoWebSocket

    client = settings().client()
    with open_sources((client.endpoint,), client.timeout_s) as sources, judged():
        monitor = _watch(sources[0], policy_file, state_file)
        try:
            _follow(client, monitor, start, count)
        except NoWebSocket:
            if start is not None and not start.isdecimal():
                raise
            _poll(client, monitor, None if start is None else int(start), count)


def _follow(client: NodeClient, monitor: Watch | None, start: str | None, count: int | None) -> None:
    """Print blocks as the node tells of them, having looked at the newest checkpoint each time.

    Raises NoWebSocket, before anything was printed, where the node tells nobody.
    """
    from chainnode.client import CallRefused
    from chainnode.following import NoWebSocket, follow

    params: dict[str, Any] = {"topic": "blocks"}
    if start is not None:
        params |= {"from_height": int(start)} if start.isdecimal() else {"from_cursor": start}
    shown, cursor = 0, ""
    told = follow(client, params, idle_s=POLL_S, tell=lambda why: say(f"{why}; trying again"))
    try:
        if monitor is not None:
            monitor.look()
        for item in told:
            if item is not None:
                _show(item[0])
                shown, cursor = shown + 1, item[1]
            if monitor is not None:
                monitor.look()
            if shown == count:
                return
    except CallRefused as error:
        if error.code != METHOD_NOT_FOUND:
            raise
        raise NoWebSocket("the node knows no subscriptions", where=client.endpoint) from None
    finally:
        told.close()
        if cursor:
            say(f"to go on: --from {cursor}")


def _poll(client: NodeClient, monitor: Watch | None, start: int | None, count: int | None) -> None:
    """Print blocks as they come, having looked at the newest checkpoint each time."""
    height = client.call("net_status")["height"] + 1 if start is None else start
    shown = 0
    while True:
        if monitor is not None:
            monitor.look()
        if count is not None and shown >= count:
            return
        if client.call("net_status")["height"] < height:
            time.sleep(POLL_S)
            continue
        limit = min(BLOCKS_A_CALL, count - shown) if count is not None else BLOCKS_A_CALL
        for found in client.call("ledger_getBlocks", start=height, order="asc", limit=limit)["blocks"]:
            _show(found)
            height, shown = found["header"]["height"] + 1, shown + 1


def _show(found: dict[str, Any]) -> None:
    header = found["header"]
    text = f"{header['height']:>8}  {header['time']}  {header['event_count']:>6} events  {found['hash'][:16]}"
    line(found, text)


def _watch(source: LogSource, policy_file: Path | None, state_file: Path | None) -> Watch | None:
    """Return what holds the node to its history; None where nobody says what to trust."""
    from chainnode.watching import Memory, Watch

    memory: Memory | None = None
    if state_file is not None:
        memory = Memory(state_file)
    elif settings().home is not None:
        memory = Memory(settings().require_home().watched)
    given = _policy(policy_file)
    known = None if memory is None else memory.read()
    if known is not None:
        assert memory is not None, "it was read from there"
        trust, seen = known
        if policy_file is not None and given != trust.policy_text:
            raise UsageError(
                "another policy than the one that is remembered",
                where=str(memory.path),
                expected="the one of its first use, or none",
                hint="later validators are followed by themselves; to trust another policy move the file away",
            )
        return Watch(trust, source, memory, seen)
    if given is None:
        if state_file is not None:
            raise UsageError("nothing says whom to trust", hint="name a policy with --policy, or a home with --home")
        say("checkpoints are not verified: name a policy with --policy, or a home with --home")
        return None
    return Watch(_trust(given, policy_file), source, memory)


def _trust(text: str, policy_file: Path | None) -> Trust:
    from chainnode.cli.proofs import refused
    from chainnode.monitoring import Trust

    try:
        return Trust(text)
    except InputError as error:
        raise refused(str(policy_file), error, "get the policy again from somebody whom you trust") from None


def _policy(policy_file: Path | None) -> str | None:
    """Return the text of the policy that is named, or of the genesis in the home; None where there is neither."""
    if policy_file is not None:
        from chainnode.cli.proofs import file_text

        return file_text(policy_file)
    if settings().home is None or not settings().require_home().genesis.is_file():
        return None
    from chainnode.founding import read_genesis
    from ledger.handovers import first_span
    from ledger.trust_policy import policy_text

    chain = read_genesis(settings().require_home().genesis)
    return policy_text(chain, (first_span(chain),))
