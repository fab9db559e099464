"""`chainnode payment affected-by`: the payments at a certificate's terminals, as a node lists them or out of a mirror.

Here: options, rows and exit statuses. Not here: judging (`rpc.methods.payment_certificates`, `chainnode.affected`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chainnode.cli.context import settings
from chainnode.cli.output import line, progress, say, short, show, show_page
from primitives.errors import ProofError, UsageError

if TYPE_CHECKING:
    from chainnode.affected import Statement, Worth
    from ledger.certificate_records import CertificateStatus

COLUMNS = ("payment_time", "member", "side", "status", "now_known", "then_known", "uetr", "height", "event_id")
PROOF_WAIT_S = 10.0


@click.command("affected-by")
@click.argument("number", metavar="CERTIFICATE")
@click.option("--all", "everything", is_flag=True, help="Those in no question too.")
@click.option("--from", "from_", metavar="TIME", help="Payments made at this time or later (RFC 3339).")
@click.option("--to", metavar="TIME", help="Payments made before this time.")
@click.option("--order", type=click.Choice(["asc", "desc"]), default="asc", show_default=True, help="Of the log.")
@click.option("--limit", type=click.IntRange(1, 100), default=30, show_default=True, help="At most so many.")
@click.option("--cursor", help="Go on where an earlier answer ended.")
@click.option(
    "--mirror",
    type=click.Path(path_type=Path, file_okay=False),
    help="Read every entry of this mirror of the log instead: complete, whatever a node would leave out.",
)
@click.option(
    "--status",
    "status_file",
    type=click.Path(path_type=Path),
    help="With --mirror: the certificate's status proof, where no node is to be asked for it.",
)
def affected_by(
    number: str,
    everything: bool,
    from_: str | None,
    to: str | None,
    order: str,
    limit: int,
    cursor: str | None,
    mirror: Path | None,
    status_file: Path | None,
) -> None:
    """List the payments at CERTIFICATE's terminals that are in question, with what it was worth at each.

    In question is a payment made when the certificate is not known, today, to have been valid: a revocation may name
    an earlier time. With --mirror the list is complete up to the mirror's checkpoint; status 3: the mirror is damaged.
    """
    if mirror is not None:
        if cursor is not None or order == "desc":
            raise UsageError("a mirror is read from its beginning", expected="--mirror without --cursor and --order")
        _from_mirror(number, mirror, status_file, everything, (from_, to))
        return
    if status_file is not None:
        raise UsageError("a status proof is for reading a mirror", expected="--status with --mirror")
    given = {"from": from_, "to": to, "cursor": cursor}
    asked = {name: value for name, value in given.items() if value is not None}
    found = (
        settings()
        .client()
        .call("payment_affectedBy", certificate=number, all=everything, order=order, limit=limit, **asked)
    )
    rows = [
        row | {name: (row[name] or {}).get("status", "none") for name in ("now_known", "then_known")}
        for row in found["payments"]
    ]
    if not settings().machine:
        present = found["present"]
        word = "unknown" if present is None else present["status"]
        say(f"{number} is {word} now; {found['looked_at']} statements read")
    show_page(found, rows, COLUMNS)


def _from_mirror(
    number: str, directory: Path, status_file: Path | None, everything: bool, span: tuple[str | None, str | None]
) -> None:
    from chainnode.affected import bundles_of, last_block, statements_naming
    from chainnode.cli.exits import Missing
    from chainnode.cli.mirror import judged
    from chainnode.mirror import Mirror
    from chainnode.mirror_files import MirrorFiles
    from chainnode.monitoring import Trust
    from ledger.times import parse_time

    files = MirrorFiles(directory)
    policy = files.policy()
    if policy is None or files.checkpoint() is None:
        raise Missing("no mirror is here", where=str(directory), expected="one that `chainnode audit mirror` made")
    names = ("--from", "--to")
    first, last = (
        None if text is None else int(parse_time(text, where=name)) for name, text in zip(names, span, strict=True)
    )
    if first is not None and last is not None and last <= first:
        raise UsageError("a span that ends before it begins", where="--to", expected="after --from", got=span[1])
    with files.reading(), judged():
        trust = Trust(policy)
        seen = Mirror(files, trust, []).seen
        assert seen is not None, "there is a checkpoint"
        if files.entries_size() < seen.checkpoint.size:
            raise ProofError(
                "the mirror lacks entries",
                where=str(directory),
                expected=f"{seen.checkpoint.size} of them",
                got=files.entries_size(),
                hint="run `chainnode audit mirror` over it without --no-entries",
            )
        block = last_block(files, seen)
        worth = _worth(number, policy, status_file, int(block.height))
        counts = {True: 0, False: 0, None: 0}
        rows: list[dict[str, Any]] = []
        with progress("reading", bundles_of(seen)) as bar:
            for found in statements_naming(files, seen, number, lambda: bar.advance(1)):
                time_ms = int(found.body.time_ms)
                if (first is not None and time_ms < first) or (last is not None and time_ms >= last):
                    continue
                status, known = (
                    (worth.at(time_ms) if worth.judged(time_ms) else None),
                    worth.known(time_ms, found.block_ms),
                )
                doubtful = None if not worth.judged(time_ms) else status is None or not status.valid
                counts[doubtful] += 1
                if everything or doubtful is not False:
                    row = _row(found, doubtful, now_known=_word(status), then_known=_word(known))
                    if settings().output == "json":
                        rows.append(row)
                    else:
                        _print(row)
    if settings().output == "json":
        show(
            {
                "certificate": number,
                "payments": rows,
                "looked_at": sum(counts.values()),
                "in_question": counts[True],
                "not_judged": counts[None],
                "height": int(block.height),
                "log_size": seen.checkpoint.size,
                "root": seen.checkpoint.root.hex(),
                "cosigners": list(seen.checked.cosigners),
            }
        )
    lacking = f", {counts[None]} not judged by this proof alone" if counts[None] else ""
    say(
        f"{counts[True]} of {sum(counts.values())} statements in question{lacking}; complete: all "
        f"{seen.checkpoint.size} entries of the log were read and hashed to root "
        f"{short(seen.checkpoint.root.hex())}, which {len(seen.checked.cosigners)} cosigned"
    )


def _word(status: CertificateStatus | None) -> str | None:
    return None if status is None else status.status.value


def _row(found: Statement, doubtful: bool | None, **worth: str | None) -> dict[str, Any]:
    from ledger.payments_json import statement_to_json
    from ledger.times import format_time

    told = statement_to_json(found.body)
    return {
        "event_id": found.event_id,
        "log_index": found.log_index,
        "member": found.member,
        **{name: told[name] for name in ("side", "status", "channel", "uetr", "pair_key")},
        "payment_time": told["time"],
        **worth,
        "in_question": doubtful,
        "applied": found.applied,
        "height": found.height,
        "time": format_time(found.block_ms),
    }


def _print(row: dict[str, Any]) -> None:
    worth = row["now_known"] or ("not judged" if row["in_question"] is None else "none")
    told = f"{row['member']:<12} {row['side']:<12} {worth:<14} {row['event_id']}"
    line(row, f"{row['payment_time']}  {told}")


def _worth(number: str, policy: str, status_file: Path | None, height: int) -> Worth:
    """Return what the certificate was worth, proved under the mirror's policy by a node, or by one file alone."""
    from chainnode.affected import Worth, proved_versions
    from chainnode.cli.certificate_proofs import proved_status
    from chainnode.cli.proofs import file_text
    from ledger.times import format_time

    if status_file is not None:
        return Worth(proved_versions(number, policy, file_text(status_file), None, height=height), complete=False)

    def proof_at(time_ms: int) -> str:
        return str(proved_status({"number": number, "at": format_time(time_ms)}, PROOF_WAIT_S)["proof"])

    newest = str(proved_status({"number": number}, PROOF_WAIT_S)["proof"])
    return Worth(proved_versions(number, policy, newest, proof_at, height=height), complete=True)
