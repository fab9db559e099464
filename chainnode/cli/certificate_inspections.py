"""`chainnode cert inspection`: draws of random inspections, from their announcement to reports; and replaying them.

Who acts is who signs, as with all of `cert`. The secret behind a commitment lies in a file of its own and is never an
argument. Not here: what the files hold and how a draw is proved (`chainnode.inspections`).
"""

from __future__ import annotations

import re
import secrets
import time
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from chainnode.cli.certificate_events import client_of, evidence_of, evidence_option, finding, send, sending, time_of
from chainnode.cli.certificate_proofs import PROVED_WITHIN_S
from chainnode.cli.context import settings
from chainnode.cli.main import Group
from chainnode.cli.output import progress, say, show, show_page, show_rows
from chainnode.cli.proofs import demanded, policy_text, witness_option
from chainnode.cli.submit import member_of_settings, open_door
from primitives.errors import UsageError

if TYPE_CHECKING:
    from chainnode.client import NodeClient
    from chainnode.inspections import DrawFile
    from ledger.inspection_bodies import DrawCategory
    from ledger.inspection_replay import Replay

FINISHED = ("drawn", "void")
AGAIN_S = 0.5
STEP_KIND = 24
TURN_TAKEN = "draw_turn_taken"

secret_option = click.option(
    "--secret-file",
    type=click.Path(path_type=Path),
    help="The file of the secret, mode 0600. [default: DRAW.MEMBER.secret beside the key]",
)


@click.group(cls=Group)
def inspection() -> None:
    """Random inspections: announce a draw, commit, close, reveal, draw, report; replay one."""


@inspection.command()
@click.argument("serial")
@click.option("--category", "categories", multiple=True, required=True, metavar="N[=WEIGHT]", help="Repeatable.")
@click.option("--count", type=int, required=True, help="How many certificates to select.")
@click.option("--commit-until", required=True, metavar="TIME", help="End of the commitments, RFC 3339.")
@click.option("--reveal-until", required=True, metavar="TIME", help="End of the reveals, RFC 3339.")
@click.option("--report-days", type=int, default=30, show_default=True, help="Days for the reports.")
@click.option("--replaces", metavar="DRAW", help="The void draw that this one stands in for.")
@sending
def announce(
    serial: str,
    categories: tuple[str, ...],
    count: int,
    commit_until: str,
    reveal_until: str,
    report_days: int,
    replaces: str | None,
    wait: str,
    timeout_s: float,
) -> int:
    """Announce draw SERIAL, as a certification body or the regulator; its id is MEMBER.SERIAL."""
    from ledger.inspection_bodies import AnnounceInspection, check_draw_body

    draw = f"{member_of_settings()}.{serial}"
    windows = time_of(commit_until, "--commit-until"), time_of(reveal_until, "--reveal-until")
    assert None not in windows
    body = AnnounceInspection(
        draw, _categories(categories), count, windows[0] or 0, windows[1] or 0, report_days, replaces
    )
    check_draw_body(body)
    say(f"draw {draw}")
    return send(body, f"announcement of {draw}", wait, timeout_s, _client_by_the_scheme(timeout_s))


def _client_by_the_scheme(timeout_s: float) -> NodeClient:
    """Return the client. Raises `UsageError` on a chain whose rules have no inspections."""
    from chainnode.decisions import rules_of
    from ledger.rules import RULES_SCHEME

    client = client_of(timeout_s)
    rules = rules_of(client)
    if rules < RULES_SCHEME:
        raise UsageError("the chain's rules have no inspections yet", expected=f"rules {RULES_SCHEME}", got=rules)
    return client


def _categories(items: tuple[str, ...]) -> tuple[DrawCategory, ...]:
    from ledger.inspection_bodies import DrawCategory

    found = []
    for item in items:
        number, _, weight = item.partition("=")
        if not (number.isascii() and number.isdigit() and (weight or "1").isascii() and (weight or "1").isdigit()):
            raise UsageError("not a category and its weight", expected="such as 6 or 6=3", got=item)
        found.append(DrawCategory(int(number), int(weight or 1)))
    return tuple(sorted(found, key=lambda item: item.category))


@inspection.command()
@click.argument("draw")
@secret_option
@sending
def commit(draw: str, secret_file: Path | None, wait: str, timeout_s: float) -> int:
    """Commit to DRAW: a new secret goes into a file that only you can read, its hash to the chain.

    Keep the file until you have revealed: who commits and does not reveal makes the draw void and is barred for a year.
    """
    from chainnode.inspections import secret_for
    from ledger.inspection_bodies import CommitInspection

    client, member = client_of(timeout_s), member_of_settings()
    path = _secret_path(secret_file, draw, member)
    phase = _inspection(client, draw)["phase"]  # a draw that is not there leaves no secret behind
    if phase != "announced":
        raise UsageError("commitments are over", where=draw, expected="an announced draw", got=phase)
    secret = secret_for(path, _chain_id(client), draw, member)
    say(f"secret kept in {path}; reveal it once commitments are closed")
    return send(CommitInspection(draw, secret.commitment), f"commitment to {draw}", wait, timeout_s, client)


@inspection.command()
@click.argument("draw")
@secret_option
@sending
def reveal(draw: str, secret_file: Path | None, wait: str, timeout_s: float) -> int:
    """Reveal what you committed to for DRAW, once its commitments are closed."""
    from chainnode.inspections import ForeignSecret, read_draw_secret
    from ledger.inspection_bodies import RevealInspection

    client, member = client_of(timeout_s), member_of_settings()
    path = _secret_path(secret_file, draw, member)
    found = read_draw_secret(path)
    expected = (_chain_id(client), draw, member)
    if (found.chain_id, found.draw, found.member) != expected:
        raise ForeignSecret(
            "secret of another draw",
            where=str(path),
            expected=f"{draw} of {member}",
            got=f"{found.draw} of {found.member}",
        )
    phase = client.call("cert_getInspection", draw=draw)["inspection"]["phase"]
    if phase == "announced":
        raise UsageError("commitments are not closed: a secret that is shown now is of no use", where=draw)
    body = RevealInspection(draw, bytes.fromhex(found.secret))
    return send(body, f"reveal for {draw}", wait, timeout_s, client)


@inspection.command("close")
@click.argument("draw")
@sending
def close(draw: str, wait: str, timeout_s: float) -> int:
    """Have a block made once the time for commitments to DRAW is over, on a chain where nobody else does.

    The first block from that time on closes the draw, whatever is in it. Any member may.
    """
    from ledger.inspection_bodies import CloseInspection

    return send(CloseInspection(draw), f"closing of {draw}", wait, timeout_s)


@inspection.command("draw")
@click.argument("draw")
@click.option("--timeout", "timeout_s", type=click.FloatRange(0.1, 3600), default=600.0, show_default=True)
def draw_(draw: str, timeout_s: float) -> int:
    """Draw: go on with DRAW, step by step, until all certificates were looked at; any member may.

    Where somebody did not reveal in time the draw ends as void, with status 1.
    """
    from chainnode.submission import NewEvent, send_within
    from ledger.inspection_bodies import DrawInspection
    from primitives.encoding import encode

    client = client_of(timeout_s)
    end = time.monotonic() + timeout_s
    found = _inspection(client, draw)
    with progress("certificates looked at", None) as bar, open_door(client) as door:
        while found["phase"] not in FINISHED:
            if time.monotonic() >= end:
                raise UsageError("the time is over; the draw goes on where it stands", where=draw, hint="run it again")
            body = encode(DrawInspection(draw))
            event = NewEvent(STEP_KIND, 1, body, f"step of {draw}", reference=secrets.token_bytes(16))
            (row,) = send_within(client, door, [event], timeout_s=end - time.monotonic())
            rule = _broken(row)
            if rule == TURN_TAKEN:
                time.sleep(AGAIN_S)  # somebody else took this block's step
            elif rule is not None:
                show(row) if settings().machine else say(f"step of {draw}: {rule}")
                return 1
            before, found = found["looked_at"], _inspection(client, draw)
            bar.advance(found["looked_at"] - before)
    _show(found)
    return 0 if found["phase"] == "drawn" else 1


def _broken(row: dict[str, Any]) -> str | None:
    """Return why a step was not applied, None where it was."""
    outcome = row.get("outcome")
    if outcome is None:
        return str(row.get("reason") or row.get("status"))
    return None if outcome.get("applied") else str(outcome["rule"])


@inspection.command()
@click.argument("draw")
@click.argument("number")
@finding
def report(
    draw: str,
    number: str,
    passed: bool | None,
    grave: bool,
    findings: tuple[str, ...],
    correct_by: str | None,
    evidence: tuple[str, ...],
    wait: str,
    timeout_s: float,
) -> int:
    """Report on certificate NUMBER that DRAW selected, as an inspector; FILEs of --evidence are site checks."""
    from ledger.certificate_bodies import ReportInspection, check_body

    if passed is None:
        raise UsageError("what did the inspection find?", expected="--passed or --failed")
    filed = evidence_of(evidence, "site_check")
    body = ReportInspection(draw, number, passed, grave, findings, time_of(correct_by, "--correct-by"), filed)
    check_body(body)
    return send(body, f"report on {number}", wait, timeout_s)


@inspection.command()
@click.argument("draw")
@click.argument("number")
@evidence_option
@sending
def resolve(draw: str, number: str, evidence: tuple[str, ...], wait: str, timeout_s: float) -> int:
    """Say that what DRAW's inspection of NUMBER found was corrected, as the responsible body, with the evidence."""
    from ledger.certificate_bodies import ResolveInspection

    filed = evidence_of(evidence, "corrective_action")
    return send(ResolveInspection(draw, number, filed), f"correction at {number}", wait, timeout_s)


@inspection.command("show")
@click.argument("draw")
def show_inspection(draw: str) -> None:
    """Show DRAW: who committed and revealed, the seed, what was selected and why, and the reports."""
    _show(_inspection(settings().client(), draw))


@inspection.command("list")
@click.option("--phase", type=click.Choice(["announced", "closed", "drawing", "drawn", "void"]), help="Those in it.")
@click.option("--order", type=click.Choice(["asc", "desc"]), default="asc", show_default=True, help="By id.")
@click.option("--limit", type=click.IntRange(1, 100), default=30, show_default=True, help="At most so many.")
@click.option("--cursor", help="Go on where an earlier answer ended.")
def list_(phase: str | None, order: str, limit: int, cursor: str | None) -> None:
    """List draws by id."""
    filters = {name: value for name, value in (("phase", phase), ("cursor", cursor)) if value is not None}
    found = settings().client().call("cert_inspections", limit=limit, order=order, **filters)
    columns = ("id", "phase", "commit_until", "committed", "revealed", "eligible", "selected", "report_until")
    show_page(found, found["inspections"], columns)


@inspection.command()
@click.argument("draw", required=False)
@click.option("--file", "source", type=click.Path(path_type=Path), help="Replay this exported draw, and ask no node.")
@click.option("--export", "target", type=click.Path(path_type=Path), help="Write the draw with all its inputs here.")
@click.option("--prove", is_flag=True, help="Prove the seed's inputs and the selected certificates under the policy.")
@click.option("--policy", "policy_file", type=click.Path(path_type=Path), help="With --prove: the trusted policy.")
@click.option("--from-epoch", type=click.IntRange(0), default=0, help="The epoch of the policy.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0, 3600),
    default=PROVED_WITHIN_S,
    show_default=True,
    help="With --prove: seconds to wait for a checkpoint that covers the draw.",
)
@witness_option
def replay(
    draw: str | None,
    source: Path | None,
    target: Path | None,
    prove: bool,
    policy_file: Path | None,
    from_epoch: int,
    timeout_s: float,
    witnesses: tuple[str, ...],
) -> int:
    """Compute DRAW anew from its announcement, commitments, closing, reveals, and the certificates of that height.

    Status 3 where the recorded selection is another. With --prove the node is not trusted for the seed: receipts of its
    events and status proofs of what was selected are verified here.
    """
    if (draw is None) == (source is None) or (source is not None and (target is not None or prove)):
        raise UsageError("what is to be replayed?", expected="DRAW with --prove or --export, or --file FILE alone")
    if prove != (policy_file is not None):
        raise UsageError("a proof is under a policy that you trust", expected="--prove with --policy FILE")
    from chainnode.inspections import fetch_draw, read_draw_file, write_draw_file
    from ledger.inspection_replay import replay as replayed

    differences: list[str] = []
    proved = None
    if source is not None:
        found = read_draw_file(source)
    else:
        client = settings().client(timeout_s=120.0)
        with progress("certificates fetched", None) as bar:
            found = fetch_draw(client, draw or "", bar.advance)
        if target is not None:
            write_draw_file(target, found)
            say(f"draw written to {target}; `chainnode cert inspection replay --file {quote(str(target))}` replays it")
    result = replayed(bytes.fromhex(found.chain_id), found.draw, found.eligible())
    if policy_file is not None:
        params = {"from_epoch": from_epoch} | demanded(witnesses)
        proved, differences = _proved(client, found, policy_text(policy_file), params, timeout_s)
    return _verdict(found, result, [*result.differences, *differences], proved)


def _proved(
    client: NodeClient, found: DrawFile, policy: str, params: dict[str, Any], timeout_s: float
) -> tuple[int, list[str]]:
    """Return how many proofs hold, and the differences that they show; status 3 where one does not hold."""
    from chainnode.cli.exits import VerificationFailed
    from chainnode.inspections import prove_inputs, prove_selected
    from primitives.errors import ProofError

    try:
        # First: a checkpoint that covers the selection covers what led to it.
        recorded = _proved_record(client, found, policy, params, timeout_s)
        count, differences = prove_inputs(client, policy, found.draw, params)
        differences += recorded
        differences += prove_selected(client, policy, found.draw, params)
    except ProofError as error:
        raise VerificationFailed(error.what, where=error.where, expected=error.expected, got=error.got) from None
    return count + 1 + len(found.draw.selection), differences


def _proved_record(
    client: NodeClient, found: DrawFile, policy: str, params: dict[str, Any], timeout_s: float
) -> list[str]:
    """Return what the proved row of the draw shows otherwise, once a checkpoint covers it; TimedOut where none does."""
    from chainnode.client import TimedOut
    from chainnode.inspections import NotCovered, prove_record

    end = time.monotonic() + timeout_s
    while True:
        try:
            return prove_record(client, policy, found.draw, params)
        except NotCovered as error:
            if time.monotonic() >= end:
                raise TimedOut(error.what, where=error.where, hint="ask again, or another node") from None
        time.sleep(AGAIN_S)


def _verdict(found: DrawFile, result: Replay, differences: list[str], proved: int | None) -> int:
    """Show what the replay gave; status 3 where the record differs."""
    from chainnode.cli.exits import Exit

    row = {
        "draw": found.inspection.id,
        "holds": not differences,
        "seed": result.seed.hex(),
        "eligible": result.eligible,
        "weight": result.weight,
        "selection": [item.number for item in result.selection],
        "proofs": proved,
        "differences": differences,
    }
    if settings().machine:
        show(row)
    elif differences:
        for difference in differences:
            say(f"differs: {difference}")
    else:
        proofs = "" if proved is None else f", {proved} proofs hold"
        click.echo(
            f"the draw is right: {len(result.selection)} of {result.eligible} certificates, "
            f"seed {result.seed.hex()[:16]}…{proofs}"
        )
        columns = ("number", "category", "risk", "weight", "ticket")
        rows = [
            {**{name: getattr(item, name) for name in columns[:4]}, "ticket": item.ticket.hex()}
            for item in result.selection
        ]
        show_rows(rows, columns=columns)
    return Exit.VERIFICATION_FAILED if differences else Exit.OK


def _show(found: dict[str, Any]) -> None:
    """Show a draw: for a person what matters of it, then the selection as a table."""
    if settings().machine:
        show(found)
        return
    shown = {name: found[name] for name in ("id", "phase", "count", "eligible", "weight", "commit_until")}
    shown |= {name: found[name] for name in ("reveal_until", "seed", "drawn", "report_until", "void", "replaced_by")}
    members = ", ".join(f"{item['member']} {'✓' if item['secret'] else '-'}" for item in found["committed"])
    show(shown | {"committed (✓ revealed)": members or None})
    if found["phase"] == "drawn":
        columns = ("number", "category", "risk", "weight", "ticket", "report")
        show_rows([{**item, "report": _report(item["report"])} for item in found["selection"]], columns=columns)


def _report(found: dict[str, Any] | None) -> str:
    if found is None:
        return "-"
    if found["passed"]:
        return "passed"
    return f"failed: {', '.join(found['findings'])}{'' if found['resolved'] is None else ' (corrected)'}"


def _inspection(client: NodeClient, draw: str) -> dict[str, Any]:
    found: dict[str, Any] = client.call("cert_getInspection", draw=draw)["inspection"]
    return found


def _chain_id(client: NodeClient) -> str:
    return str(client.call("ledger_getCapabilities")["chain_id"])


def _secret_path(given: Path | None, draw: str, member: str) -> Path:
    """Return where the secret lies. Raises `UsageError` for what is no draw's id, which becomes a file's name."""
    from ledger.certificate_bodies import APPLICATION_ID_PATTERN

    if re.search(APPLICATION_ID_PATTERN, draw) is None:
        raise UsageError("not the id of a draw", expected="MEMBER.SERIAL, such as cb.2026-01", got=draw)
    if given is not None:
        return given
    options = settings()
    directory = options.require_home().keys if options.as_key is None else options.as_key.parent
    return directory / f"{draw}.{member}.secret"
