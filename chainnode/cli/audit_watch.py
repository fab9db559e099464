"""`audit watch`: the auditor's daemon, which holds several nodes to one history.

Here: options, the state directory, exit statuses. Not here: rounds (`chainnode.auditor`), the daemon
(`chainnode.audit_daemon`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chainnode.cli.context import settings
from chainnode.cli.mirror import ENDPOINTS_MAX
from primitives.errors import InputError, UsageError

if TYPE_CHECKING:
    from chainnode.audit_findings import Findings, Weight
    from chainnode.audit_metrics import AuditMetrics
    from chainnode.auditor import Auditor, Limits
    from chainnode.log_source import LogSource
    from chainnode.monitoring import Trust

STATE = "audit-state"
INTERVAL_S = 5.0


class Seconds(click.FloatRange):
    """A number of seconds, with or without an `s` behind it."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number; Any: click gives a text, or the default."""
        plain: Any = value.removesuffix("s") if isinstance(value, str) else value
        return super().convert(plain, param, ctx)


SECONDS = Seconds(0.05, 86_400)


@click.command("watch")
@click.option("--policy", "policy_file", type=click.Path(path_type=Path), help="The trusted policy, at the first use.")
@click.option("--node", "nodes", multiple=True, metavar="URL", help="A node to hold to the log (http, https, file).")
@click.option(
    "--state",
    "directory",
    type=click.Path(path_type=Path),
    default=Path(STATE),
    show_default=True,
    help="Remember here, and keep findings and proofs.",
)
@click.option("--interval", "interval_s", type=SECONDS, default=INTERVAL_S, show_default=True, help="Between rounds.")
@click.option("--once", is_flag=True, help="Make one round, and end with its status.")
@click.option("--fail-fast", is_flag=True, help="End at the first finding that has a status of its own.")
@click.option("--listen", metavar="HOST:PORT", help="Serve /metrics, /livez and /readyz here, on loopback.")
@click.option("--entries/--no-entries", default=True, help="Follow the log's entries too. [default: follow]")
@click.option("--mirror", "mirror_place", metavar="DIR|URL", help="Read tiles and entries from this mirror first.")
@click.option("--ca-file", type=click.Path(path_type=Path, exists=True), help="Root certificates for https, PEM.")
@click.option(
    "--node-token", "tokens", nargs=2, multiple=True, metavar="URL FILE", help="A token file for one of the nodes."
)
@click.option("--timeout", "timeout_s", type=SECONDS, default=10.0, show_default=True, help="For a node in a round.")
@click.option("--stale", "stale_s", type=SECONDS, default=180.0, show_default=True, help="A head is stale after.")
@click.option("--lag", "lag_s", type=SECONDS, default=180.0, show_default=True, help="A node lags if so far behind.")
@click.option(
    "--warn-days", type=click.FloatRange(0, 3_650), default=30.0, show_default=True, help="Tell of ends so near."
)
def watch(
    policy_file: Path | None,
    nodes: tuple[str, ...],
    directory: Path,
    interval_s: float,
    once: bool,
    fail_fast: bool,
    listen: str | None,
    entries: bool,
    mirror_place: str | None,
    ca_file: Path | None,
    tokens: tuple[tuple[str, str], ...],
    timeout_s: float,
    stale_s: float,
    lag_s: float,
    warn_days: float,
) -> None:
    """Hold several nodes to one history, without an account on any of them; each finding is one JSON line.

    Status 3 where a lie was found or something does not verify, 5 where a node cannot be reached, lags, or no new
    checkpoint comes, else 0. Without --once it goes on until SIGTERM, and the status is that of the worst finding that
    stands. Only plain GET is used. Entries, and so evidence and ends, are for who has a token where a node is not on
    this machine: name it with --token-file, or with --node-token for each of several nodes.
    """
    import asyncio

    from chainnode.audit_daemon import one_round
    from chainnode.audit_daemon import watch as run
    from chainnode.auditor import Limits

    address = _address(listen)
    limits = Limits(stale_s, lag_s, timeout_s, warn_days)
    places = _places(nodes, tokens)
    with _opened(policy_file, places, directory, limits, entries, mirror_place, ca_file) as (auditor, metrics):
        if once:
            one_round(auditor, metrics)
        else:
            asyncio.run(run(auditor, metrics, interval_s=interval_s, listen=address, fail_fast=fail_fast))
        status = _status(auditor.findings.worst())
    if status:
        raise SystemExit(status)


def _address(listen: str | None) -> tuple[str, int] | None:
    """Return where to listen. Raises UsageError off loopback: there is nobody who may ask."""
    from chainnode.config import is_loopback, split_address

    if listen is None:
        return None
    host, port = split_address(listen)
    if not is_loopback(host):
        raise UsageError("metrics are for this machine alone", expected="a loopback address", got=listen)
    return host, port


@contextmanager
def _opened(
    policy_file: Path | None,
    nodes: dict[str, str | None],
    directory: Path,
    limits: Limits,
    entries: bool,
    mirror_place: str | None,
    ca_file: Path | None,
) -> Iterator[tuple[Auditor, AuditMetrics]]:
    """Open an auditor where it stood; its directory is held against a second process."""
    from chainnode.audit_entries import open_follower
    from chainnode.audit_findings import Findings
    from chainnode.audit_metrics import AuditMetrics
    from chainnode.auditor import DAY_S
    from chainnode.files import locked, make_synced_directory
    from chainnode.version import VERSION

    metrics = AuditMetrics(version=VERSION, start_time_s=time.time())

    def tell(row: dict[str, Any]) -> None:
        metrics.count(row)
        click.echo(json.dumps(row, ensure_ascii=False))

    with ExitStack() as held:
        sources = _sources(held, nodes, limits.timeout_s, ca_file)
        if not directory.is_dir():
            make_synced_directory(directory)
        held.enter_context(locked(directory / "lock", "auditor's state"))
        findings = Findings(directory / "findings.jsonl", _now_ms, tell)
        auditor = _auditor(directory, policy_file, findings, sources, limits)
        held.callback(auditor.close)
        if mirror_place is not None:
            auditor.use_mirror(_mirror(held, mirror_place, limits.timeout_s, ca_file))
        if entries:
            hint = "remove the file: what ends when is read again from the entries"
            with _remembered(hint):
                auditor.follower = open_follower(directory, findings, _now_ms, int(limits.warn_days * DAY_S * 1_000))
        yield auditor, metrics


def _now_ms() -> int:
    return int(time.time() * 1_000)


def _places(nodes: tuple[str, ...], tokens: tuple[tuple[str, str], ...]) -> dict[str, str | None]:
    """Return the token of each node's URL, None for those that are asked without one."""
    from chainnode.identity import read_token

    found: dict[str, str | None] = dict.fromkeys(nodes)
    if not 1 <= len(found) <= ENDPOINTS_MAX:
        raise UsageError("whom to watch", expected=f"--node URL, 1 to {ENDPOINTS_MAX} times", got=len(found))
    token_file = settings().token_file
    if token_file is not None:
        if len(found) > 1:
            raise UsageError("a token is one node's", expected="--node-token URL FILE for each", got=len(found))
        found = dict.fromkeys(found, read_token(token_file))
    for place, file in tokens:
        if place not in found:
            raise UsageError("a token for a node that is not named", expected=", ".join(found), got=place)
        found[place] = read_token(Path(file))
    return found


def _sources(held: ExitStack, nodes: dict[str, str | None], timeout_s: float, ca_file: Path | None) -> list[LogSource]:
    from chainnode.log_source import open_source

    found = [
        open_source(place, token=token, timeout_s=timeout_s, ca_file=ca_file, patience_s=timeout_s)
        for place, token in nodes.items()
    ]
    if len({source.name for source in found}) != len(found):
        raise UsageError("a node is named twice", got=", ".join(nodes))
    for source in found:
        held.callback(source.close)
    return found


def _mirror(held: ExitStack, place: str, timeout_s: float, ca_file: Path | None) -> LogSource:
    from chainnode.log_source import open_source

    where = f"file://{Path(place).absolute()}" if Path(place).is_dir() else place
    source = open_source(where, timeout_s=timeout_s, ca_file=ca_file, patience_s=timeout_s)
    held.callback(source.close)
    return source


def _auditor(
    directory: Path, policy_file: Path | None, findings: Findings, sources: list[LogSource], limits: Limits
) -> Auditor:
    """Return the auditor of a directory, which is held to the policy of its first use."""
    from chainnode.auditor import open_auditor
    from chainnode.cli.proofs import file_text

    given = None if policy_file is None else file_text(policy_file)
    pinned = directory / "policy"
    text = file_text(pinned) if pinned.exists() else given
    if text is None:
        raise UsageError("nothing says whom to trust", hint="name the policy that you trust with --policy")
    if given not in (None, text):
        raise UsageError(
            "another policy than that of the first use",
            where=str(pinned),
            hint="later validators are followed by themselves; to trust another policy take another --state",
        )
    trust = _trust(text, str(policy_file or pinned))
    with _remembered("move the file away, and what stands now is told again"):
        auditor = open_auditor(directory, trust, findings, sources, limits)
    if not pinned.exists():
        from chainnode.files import write_file

        write_file(pinned, text.encode())
    return auditor


@contextmanager
def _remembered(hint: str) -> Iterator[None]:
    """End with the status for what does not verify where a file of the directory says something else."""
    from chainnode.cli.exits import VerificationFailed

    try:
        yield
    except InputError as error:
        raise VerificationFailed(
            error.what, where=error.where, expected=error.expected, got=error.got, hint=error.hint or hint
        ) from None


def _trust(text: str, where: str) -> Trust:
    from chainnode.cli.proofs import refused
    from chainnode.monitoring import Trust

    try:
        return Trust(text)
    except InputError as error:
        raise refused(where, error, "get the policy again from somebody whom you trust") from None


def _status(worst: Weight) -> int:
    from chainnode.audit_findings import Weight
    from chainnode.cli.exits import Exit

    return {Weight.TOLD: Exit.OK, Weight.UNHEALTHY: Exit.UNHEALTHY, Weight.FAILED: Exit.VERIFICATION_FAILED}[worst]
