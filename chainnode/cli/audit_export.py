"""`audit export`: the log as Parquet files.

Here: options, messages and exit statuses. Not here: the export (`chainnode.analysis.exporting`), queries (`audit_sql`).
Both need the extra `chainnode[analysis]`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chainnode.cli.context import settings
from chainnode.cli.mirror import TIMEOUT_S, open_sources
from chainnode.cli.output import progress, say, show
from primitives.errors import InputError, UsageError

if TYPE_CHECKING:
    from chainnode.analysis.export_files import ExportFiles
    from chainnode.analysis.exporting import Exported
    from chainnode.analysis.manifest import Manifest

_NOT_HELD = "do not rely on what this source says"


class AnalysisMissing(UsageError):
    """What exports and queries are made with is not installed."""

    reason = "analysis_missing"


@contextmanager
def analysis(command: str) -> Iterator[None]:
    """Say in one sentence what is missing where a library of the extra is not installed."""
    try:
        yield
    except ImportError as error:
        if error.name is None or error.name.partition(".")[0] not in ("numpy", "pyarrow", "duckdb"):
            raise
        raise AnalysisMissing(
            f"`{command}` needs {error.name}, which is not installed",
            hint="install it with `pip install 'chainnode[analysis]'`",
        ) from None


@click.command()
@click.option("-d", "--directory", required=True, type=click.Path(path_type=Path), help="Where the export lies.")
@click.option("--mirror", "place", metavar="DIR|URL", help="Read the log from a mirror. [default: from the node]")
@click.option("--policy", "policy_file", type=click.Path(path_type=Path), help="The trusted policy, at the first use.")
@click.option("--from", "from_height", type=click.IntRange(0), help="The first block, at the first use. [default: 0]")
@click.option("--kind", "kinds", multiple=True, metavar="KIND", help="Only events of this kind (repeatable).")
@click.option("--parts/--no-parts", default=True, help="Ask the node for batches and rejections too. [default: too]")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0.1, 3600),
    default=TIMEOUT_S,
    show_default=True,
    help="Seconds for one answer.",
)
@click.option("--check", is_flag=True, help="Verify the files' SHA-256, asking nobody.")
def export(
    directory: Path,
    place: str | None,
    policy_file: Path | None,
    from_height: int | None,
    kinds: tuple[str, ...],
    parts: bool,
    timeout_s: float,
    check: bool,
) -> None:
    """Write the log's events to Parquet files; again adds what came since. Status 3 where something does not hold.

    Each row's entry was hashed to the root of a checkpoint that the policy accepts. Outcomes, and who submitted what,
    are proved too, or left empty: with --mirror a node is asked for them where --endpoint names one.
    """
    from chainnode.cli.exits import Missing

    with analysis("audit export"):
        from chainnode.analysis.export_files import ExportFiles
        from chainnode.analysis.exporting import Exporter
    from chainnode.monitoring import Trust

    files = ExportFiles(directory)
    if check:
        _checked(files)
        return
    where = None if place is None else _where(place)
    with open_sources(_sources(where, parts), timeout_s) as sources, held(), files.opened():
        trust = Trust(_policy(files, policy_file, where))
        asked = sources if where is None else sources[1:]
        with progress("entries", None) as bar:
            exporter = Exporter(
                files,
                trust,
                sources[0],
                asked if parts else (),
                kinds or None,
                from_height,
                expect=bar.restart,
                advance=bar.advance,
            )
            done = exporter.run()
    _told(directory, done)
    if not done.manifest.rows["events"] and done.manifest.next_height == done.manifest.from_height:
        raise Missing("the log has no whole block to export", where=str(directory))


@contextmanager
def held() -> Iterator[None]:
    """Let whatever does not hold end with status 3, and what nobody has with 6."""
    from chainnode.cli.exits import Missing, VerificationFailed
    from ledger.signed_trees import TileMissing

    try:
        yield
    except TileMissing as error:
        hint = "a mirror made with --no-entries has none: `chainnode audit mirror` completes it"
        raise Missing(error.what, where=error.where, expected=error.expected, got=error.got, hint=hint) from None
    except InputError as error:
        raise VerificationFailed(
            error.what, where=error.where, expected=error.expected, got=error.got, hint=error.hint or _NOT_HELD
        ) from None


def _where(place: str) -> str:
    """Return the URL of a mirror."""
    from chainnode.cli.exits import Missing

    if Path(place).is_dir():
        return f"file://{Path(place).absolute()}"
    if not any(mark in place for mark in ("//", ":")):
        raise Missing("no mirror is here", where=place, expected="a directory, or a URL such as http://127.0.0.1:8080")
    return place


def _sources(mirror: str | None, parts: bool) -> tuple[str, ...]:
    """Return who is read: the mirror, then the node where it was named; else the node alone."""
    if mirror is None:
        return (settings().client().endpoint,)
    return (mirror, settings().client().endpoint) if parts and settings().endpoint is not None else (mirror,)


def _policy(files: ExportFiles, policy_file: Path | None, where: str | None) -> str:
    """Return the policy that the export is held to: the pinned one, else the given one, else a local mirror's own."""
    from chainnode.cli.proofs import policy_text
    from ledger.tile_paths import POLICY_PATH

    given = None if policy_file is None else policy_text(policy_file)
    pinned = files.policy()
    if pinned is not None:
        if given not in (None, pinned):
            raise UsageError(
                "the export is held to another policy",
                where=str(files.directory / POLICY_PATH),
                expected="the one of its first use, or none at all",
                hint="later validators are followed by themselves",
            )
        return pinned
    if given is not None:
        return given
    own = (
        None if where is None or not where.startswith("file://") else Path(where.removeprefix("file://")) / POLICY_PATH
    )
    if own is not None and own.is_file():
        return policy_text(own)
    raise UsageError(
        "a new export needs a policy",
        where=str(files.directory),
        hint="name the one that you trust with --policy; `chainnode policy export` writes it",
    )


def _checked(files: ExportFiles) -> None:
    manifest = found_manifest(files)
    with held():
        files.check(manifest, hashes=True)
    show({"directory": str(files.directory), "verified": True, **_standing(manifest)})


def found_manifest(files: ExportFiles) -> Manifest:
    """Return the manifest of a directory that must hold an export."""
    from chainnode.cli.exits import Missing

    with held():
        manifest = files.manifest()
    if manifest is None:
        raise Missing("no export is here", where=str(files.directory), expected="a manifest.json in it")
    return manifest


def _standing(manifest: Manifest) -> dict[str, Any]:
    return {
        "chain_id": manifest.chain_id,
        "from_height": manifest.from_height,
        "to_height": manifest.next_height - 1,
        "log_size": manifest.checkpoint.size,
        "rows": manifest.rows,
        "unproved_blocks": manifest.unproved,
        "files": len(manifest.files),
        "bytes": sum(entry.bytes for entry in manifest.files),
    }


def _told(directory: Path, done: Exported) -> None:
    manifest, checked = done.manifest, done.seen.checked
    row = {
        "directory": str(directory),
        **_standing(manifest),
        "new_rows": done.rows,
        "new_files": done.files,
        "cosigners": list(checked.cosigners),
    }
    show(row)
    unproved = manifest.unproved["batches"]
    if unproved and not settings().machine:
        say(f"sources and batches of {unproved} blocks are left empty: nobody gave what proves them")
    if manifest.unproved["outcomes"] and not settings().machine:
        say(f"outcomes of {manifest.unproved['outcomes']} blocks, with rejected events among them, are left empty")
