"""`audit mirror` and `audit fork`: a copy of the log that anybody can serve, and the proof that a log is two.

Here: options, messages and exit statuses. Not here: copying (`chainnode.mirror`), judging (`chainnode.monitoring`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chainnode.cli.context import settings
from chainnode.cli.output import Progress, line, progress, say, show, show_verdict
from primitives.errors import InputError, UsageError

if TYPE_CHECKING:
    from chainnode.cli.exits import VerificationFailed
    from chainnode.log_source import LogSource
    from chainnode.mirror import Mirror, Round
    from chainnode.mirror_files import MirrorFiles
    from chainnode.monitoring import Trust
    from primitives.errors import ChainError, ProofError

INTERVAL_S = 1.0
TIMEOUT_S = 30.0
ENDPOINTS_MAX = 64
STALE_S = 180
"""An idle chain cosigns its checkpoint anew each minute: an older one is held back, or the chain stands still."""
_MISLED = "do not rely on what this source says"
_LACKING = "name more endpoints: a node that began from a snapshot, or freed what it had archived, lacks old parts"


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option(
    "--endpoint",
    "endpoints",
    multiple=True,
    metavar="URL",
    help="A node, or another mirror (http, https, file); several are held against each other.",
)
@click.option("--policy", "policy_file", type=click.Path(path_type=Path), help="The trusted policy, at the first use.")
@click.option("--entries/--no-entries", default=True, help="The log's entries too, or its hashes alone. [default: too]")
@click.option("--follow", is_flag=True, help="Go on with each new checkpoint, until interrupted.")
@click.option(
    "--interval",
    "interval_s",
    type=click.FloatRange(0.05, 3600),
    default=INTERVAL_S,
    show_default=True,
    help="Seconds between two looks.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0.1, 3600),
    default=TIMEOUT_S,
    show_default=True,
    help="Seconds for one answer.",
)
@click.option(
    "--replace-policy", is_flag=True, help="Hold the mirror to --policy from now on, if it accepts what is here."
)
@click.option("--check", is_flag=True, help="Verify what lies in DIRECTORY, asking nobody.")
def mirror(
    directory: Path,
    endpoints: tuple[str, ...],
    policy_file: Path | None,
    entries: bool,
    follow: bool,
    interval_s: float,
    timeout_s: float,
    replace_policy: bool,
    check: bool,
) -> None:
    """Copy the log into DIRECTORY, which any web server can serve as it is. Status 3 where something does not hold.

    Everything is verified up to a checkpoint that the policy accepts, and each checkpoint is consistent with the one
    before. If the log forks or rolls back, both signed notes are kept in DIRECTORY/forks.
    """
    from chainnode.cli.exits import Missing
    from chainnode.mirror import Mirror
    from chainnode.mirror_files import MirrorFiles, check_directory

    if check and (endpoints or follow):
        raise UsageError("--check asks nobody", expected="--check without --endpoint and --follow")
    check_directory(directory)
    files = MirrorFiles(directory)
    if check and files.checkpoint() is None:
        raise Missing("no mirror is here", where=str(directory), expected="a checkpoint in it")
    trust = _trust(files, policy_file, replace_policy)
    places = () if check else _places(endpoints)
    held = files.reading() if check else files.opened()
    with open_sources(places, timeout_s) as sources, held, _bar() as bar, judged():
        copy = Mirror(files, trust, sources, entries=entries, progress=bar)
        if replace_policy and copy.seen is not None:
            files.put_policy(trust.policy_text)
        if check:
            found = _row(copy.check())
            kept = ("origin", "size", "root", "epoch", "cosigners", "tiles", "bundles")
            show({"directory": str(directory), "verified": True, **{name: found[name] for name in kept}})
        elif follow:
            _follow(copy, interval_s)
        else:
            brought = copy.step()
            _shown(directory, brought)
            _told(brought, {_refused_line(*next(iter(brought.refused.items())))} if brought.refused else set())
            _raise_for(brought)


def _trust(files: MirrorFiles, policy_file: Path | None, replace: bool) -> Trust:
    """Return the policy that the mirror is held to: the pinned one, or at the first use the one that is given."""
    from chainnode.cli.proofs import file_text, refused
    from chainnode.monitoring import Trust

    pinned = files.policy()
    given = None if policy_file is None else file_text(policy_file)
    if replace and given is None:
        raise UsageError("no policy to hold the mirror to", expected="--replace-policy with --policy")
    text = given if pinned is None or replace else pinned
    if text is None:
        raise UsageError(
            "a new mirror needs a policy",
            where=str(files.directory),
            hint="name the one that you trust with --policy; `chainnode policy export` writes it",
        )
    if given is not None and given != text:
        raise UsageError(
            "the mirror is held to another policy",
            where=str(files.directory / "policy"),
            expected="the one of its first use, or none at all",
            hint="later validators are followed by themselves; --replace-policy holds it to another policy from now on",
        )
    try:
        return Trust(text)
    except InputError as error:
        raise refused(
            str(policy_file or files.directory / "policy"), error, "get it again from whom you trust"
        ) from None


def _places(endpoints: tuple[str, ...]) -> tuple[str, ...]:
    """Return the URLs to read from: those named, or the node that every command asks."""
    if len(endpoints) > ENDPOINTS_MAX:
        raise UsageError("too many endpoints", expected=f"at most {ENDPOINTS_MAX}", got=len(endpoints))
    if settings().token_file is not None and len(endpoints) > 1:
        raise UsageError("a token is one node's", expected="one --endpoint with --token-file", got=len(endpoints))
    return tuple(dict.fromkeys(endpoints)) or (settings().client().endpoint,)


@contextmanager
def open_sources(places: tuple[str, ...], timeout_s: float) -> Iterator[list[LogSource]]:
    """Open logs to read from, with the token of --token-file, and close them."""
    from chainnode.identity import read_token
    from chainnode.log_source import open_source

    token_file = settings().token_file
    token = None if token_file is None else read_token(token_file)
    found = [open_source(place, token=token, timeout_s=timeout_s) for place in places]
    try:
        yield found
    finally:
        for source in found:
            source.close()


@contextmanager
def judged() -> Iterator[None]:
    """Let whatever was found to be wrong end with status 3."""
    from chainnode.monitoring import Alarm
    from ledger.signed_trees import TileMissing

    try:
        yield
    except Alarm as error:
        raise _failed(error, error.hint or "") from None
    except TileMissing as error:
        raise _failed(error, _LACKING) from None
    except InputError as error:
        raise _failed(error, error.hint or _MISLED) from None


def _failed(error: Any, hint: str) -> VerificationFailed:  # Any: an error of the tree, which has these fields
    from chainnode.cli.exits import VerificationFailed

    return VerificationFailed(error.what, where=error.where, expected=error.expected, got=error.got, hint=hint)


class _Bar:
    """A mirror's progress on a bar."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar

    def expect(self, tiles: int) -> None:
        """So many tiles and bundles are to come."""
        self._bar.restart(tiles)

    def advance(self) -> None:
        """One more is there."""
        self._bar.advance()


@contextmanager
def _bar() -> Iterator[Any]:
    with progress("tiles", None) as bar:
        yield _Bar(bar)


def _row(found: Round) -> dict[str, Any]:
    """Return a round for the output."""
    seen = found.seen
    checked = None if seen is None else seen.checked
    return {
        "origin": None if checked is None else checked.checkpoint.origin,
        "size": 0 if checked is None else checked.checkpoint.size,
        "root": None if checked is None else checked.checkpoint.root.hex(),
        "epoch": None if checked is None else checked.epoch,
        "cosigners": [] if checked is None else list(checked.cosigners),
        "new_leaves": found.new_leaves,
        "tiles": found.tiles,
        "bundles": found.bundles,
        "bytes": found.bytes,
        "behind": {seen.source: seen.checkpoint.size for seen in found.behind},
        "refused": {name: str(error) for name, error in found.refused.items()},
        "failed": {name: str(error) for name, error in found.failed.items()},
    }


def _shown(directory: Path, found: Round) -> None:
    """Print what a round brought; who is behind, lies or fails is a message to a person, a field to a program."""
    row = {"directory": str(directory), **_row(found)}
    told = () if settings().machine else ("behind", "refused", "failed")
    show({name: value for name, value in row.items() if name not in told})


def _refused_line(name: str, error: ProofError) -> str:
    return f"refused: {_named(name, error)}"


def _named(name: str, error: ChainError) -> str:
    """Return an error with the name of its source, once."""
    text = str(error)
    return text if text.startswith(name) else f"{name}: {text}"


def _told(found: Round, known: set[str]) -> None:
    """Say who lies, does not answer or shows less than the mirror has, each once until it changes."""
    from ledger.times import format_time

    lines = {_refused_line(name, error) for name, error in found.refused.items()}
    lines |= {f"not reached: {_named(name, error)}" for name, error in found.failed.items()}
    if found.seen is not None:
        lines |= {f"behind: {seen.source} shows an older checkpoint, of the same history" for seen in found.behind}
        if time.time() - found.seen.checked.middle_s > STALE_S:  # one cosigner alone may claim any time
            signed = format_time(found.seen.checked.middle_s * 1_000)
            lines.add(
                f"stale: nobody shows a newer checkpoint than that of {signed}: held back, or the chain stands still"
            )
    for text in sorted(lines - known):
        say(text)
    known.clear()
    known.update(lines)


def _raise_for(found: Round) -> None:
    """Raise for a round in which somebody lied, or nobody answered."""
    from chainnode.cli.exits import VerificationFailed

    for name, error in found.refused.items():
        where = f"{name}{': ' + error.where if error.where else ''}"
        raise VerificationFailed(
            error.what, where=where, expected=error.expected, got=error.got, hint=error.hint or _MISLED
        )
    if found.failed and not found.new_leaves:
        raise next(iter(found.failed.values()))


def _follow(copy: Mirror, interval_s: float) -> None:
    """Take each new checkpoint; whoever lies or does not answer is told of and asked again, a contradiction ends it."""
    from ledger.signed_trees import TileMissing

    known: set[str] = set()
    while True:
        try:
            found = copy.step()
        except TileMissing as error:
            found = copy.round
            say(f"not complete: {error}")
        if found.new_leaves and found.seen is not None:
            size, root = found.seen.checkpoint.size, found.seen.checkpoint.root.hex()
            line(_row(found), f"{size:>10}  {root[:16]}  {found.new_leaves:>8} leaves  {found.seen.source}")
        _told(found, known)
        time.sleep(interval_s)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--policy", "policy_file", type=click.Path(path_type=Path), required=True, help="The trusted policy.")
def fork(file: Path, policy_file: Path) -> None:
    """Verify that the two checkpoints in FILE contradict each other, offline. Status 3 where they do not."""
    from chainnode.cli.proofs import file_text, policy_text, refused
    from ledger.forks import judge_fork, parse_fork
    from ledger.times import format_time
    from ledger.trust_policy import parse_policy

    policy, text = parse_policy(policy_text(policy_file)), file_text(file)
    try:
        verdict = judge_fork(parse_fork(text), policy)
    except InputError as error:
        raise refused(str(file), error, "it accuses nobody") from None
    checkpoints = [
        {
            "size": each.checkpoint.size,
            "root": each.checkpoint.root.hex(),
            "cosigners": list(each.cosigners),
            "first": format_time(each.first_s * 1_000),
            "last": format_time(each.last_s * 1_000),
        }
        for each in (verdict.first, verdict.second)
    ]
    row = {"contradiction": verdict.contradiction.value, "origin": verdict.first.checkpoint.origin}
    if settings().machine:
        show({"verified": True, **row, "accused": list(verdict.accused), "checkpoints": checkpoints})
        return
    show_verdict(verdict.sentence)
    show({**row, "accused": ", ".join(verdict.accused), "first": checkpoints[0], "second": checkpoints[1]})
