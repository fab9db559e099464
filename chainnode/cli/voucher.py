"""`chainnode voucher`: vouchers redeemed in bulk, and proofs of double spending."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chainnode.cli.context import hash_of, settings
from chainnode.cli.main import Group
from chainnode.cli.output import Records, progress, records, say, show, show_verdict
from chainnode.cli.submit import open_door, timeout_option
from primitives.errors import InputError, ProofError

if TYPE_CHECKING:
    from chainnode.client import NodeClient
    from chainnode.submission import Door
    from ledger.voucher_bodies import RedeemVouchers, ReportDoubleSpend, Voucher

INPUT_BYTES_MAX = 64 * 1024 * 1024
REDEEMED, ALREADY, REFUSED, PENDING = "redeemed", "already redeemed", "refused", "pending"
NOT_SENT = "not sent, the time was over; give the same files again"
NO_PROOF = frozenset({"voucher_signature", "wallet_unknown", "wallet_accused", "not_permitted"})
"""Rules by which a voucher is refused that no redeemed one contradicts, or that is proved already."""

Row = dict[str, Any]  # Any: JSON of a node


@click.group(cls=Group)
def voucher() -> None:
    """Vouchers that wallets signed without a connection: redeem them, prove double spending."""


@voucher.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("--proofs", type=click.Path(path_type=Path), metavar="FOLDER", help="Where proofs of double spending go.")
@click.option("--skip-bad", is_flag=True, help="Take files without their bad lines, and report them.")
@timeout_option
def redeem(files: tuple[Path, ...], proofs: Path | None, skip_bad: bool, timeout_s: float) -> int:
    """Redeem the vouchers of FILEs, a JSON object a line, as the payees' bank; one line of result for each voucher.

    What this bank redeemed before is told and not sent again, so the same files may be given again after whatever ended
    the command. A voucher that contradicts one that was redeemed is a double spending: both are submitted as its proof
    once the rest is done, which opens a proposal to suspend the wallet. Status 1 if any was refused, else 5 if any was
    not committed within --timeout.
    """
    from chainnode.files import read_file
    from chainnode.vouchers import batched, read_vouchers, redemptions
    from ledger.wallets import REDEMPTIONS_A_MEMBER_MAX

    bad: list[InputError] | None = [] if skip_bad else None
    vouchers = [
        each
        for path in files
        for each in read_vouchers(read_file(path, size_max=INPUT_BYTES_MAX), where=str(path), refused=bad)
    ]
    client = settings().client(timeout_s=timeout_s, token=True)
    with records("vouchers") as out, open_door(client) as door, progress("redeeming", len(vouchers)) as bar:
        desk = _Desk(client, door, out, proofs, time.monotonic() + timeout_s)
        for error in bad or ():
            desk.say_bad(error)
        for bodies in batched(redemptions(vouchers), REDEMPTIONS_A_MEMBER_MAX):
            desk.redeem(bodies)
            bar.advance(sum(len(body.vouchers) for body in bodies))
        desk.prove()
    if not settings().machine:
        counted = ", ".join(f"{desk.told.count(word)} {word}" for word in dict.fromkeys(desk.told))
        say(f"{len(desk.told)} vouchers: {counted or 'none'}")
    return 1 if REFUSED in desk.told else 5 if PENDING in desk.told else 0


class _Desk:
    """Redeems vouchers one event after the other and tells what became of each of them."""

    def __init__(self, client: NodeClient, door: Door, out: Records, proofs: Path | None, end_s: float) -> None:
        self._client, self._door, self._out, self._proofs, self._end_s = client, door, out, proofs, end_s
        self._chain_id = bytes.fromhex(client.call("ledger_getCapabilities")["chain_id"])
        self._found: dict[bytes, ReportDoubleSpend] = {}
        self.told: list[str] = []

    def redeem(self, bodies: Sequence[RedeemVouchers]) -> None:
        """Redeem what is not redeemed yet; of vouchers that are refused together, each one is tried alone."""
        groups = [left for left in map(self._left, bodies) if left]
        alone: list[Voucher] = []
        for left, row in zip(groups, self._redeemed(groups), strict=True):
            if len(left) > 1 and _of_one(row):
                alone += left
                continue
            for each in left:
                self._tell(each, row)
        for start in range(0, len(alone), len(bodies)):
            each_left = [each for each in alone[start : start + len(bodies)] if not self._before(each)]
            for each, row in zip(each_left, self._redeemed([(each,) for each in each_left]), strict=True):
                self._tell(each, row)

    def _redeemed(self, groups: Sequence[tuple[Voucher, ...]]) -> list[Row]:
        """Send redemptions of each group; what a block had no room for once more, while there is time."""
        from ledger.outcomes import TOO_MANY_IN_BLOCK
        from ledger.voucher_bodies import RedeemVouchers

        rows = self._send([RedeemVouchers(group) for group in groups])
        while late := [place for place, row in enumerate(rows) if _rule(row) == TOO_MANY_IN_BLOCK and self._in_time()]:
            for place, row in zip(late, self._send([RedeemVouchers(groups[place]) for place in late]), strict=True):
                rows[place] = row
        return rows

    def _left(self, body: RedeemVouchers) -> tuple[Voucher, ...]:
        """Return which vouchers of an event are to be sent: those of which the last one is redeemed are asked for."""
        from chainnode.vouchers import redeemed_together

        *others, last = body.vouchers
        if not self._before(last):
            return body.vouchers
        members = redeemed_together(self._client, self._chain_id, others)
        if members is None:
            return tuple(each for each in others if not self._before(each))
        for voucher, member in zip(others, members, strict=True):
            self._say_before(voucher, member)
        return ()

    def _before(self, voucher: Voucher) -> bool:
        """Say whether a voucher was redeemed before, and tell by whom: by another bank is no payment to this one."""
        from chainnode.vouchers import redeemed_by

        member = redeemed_by(self._client, self._chain_id, voucher)
        if member is not None:
            self._say_before(voucher, member)
        return member is not None

    def _say_before(self, voucher: Voucher, member: str) -> None:
        own = member == self._door.member
        self._say(voucher, ALREADY if own else REFUSED, f"{'' if own else 'voucher_redeemed: '}by {member}", None)

    def _tell(self, voucher: Voucher, row: Row) -> None:
        from ledger.outcome_texts import why_text

        outcome = row.get("outcome")
        if outcome is None:
            refused = row["status"] == "Refused"
            self._say(voucher, REFUSED if refused else PENDING, str(row.get("message") or row["status"]), row.get("id"))
        elif outcome["applied"]:
            self._say(voucher, REDEEMED, "", row["id"])
        elif outcome["rule"] != "voucher_redeemed" or not self._before(voucher):
            self._say(voucher, REFUSED, why_text(outcome["rule"], outcome["detail"] or ""), row["id"])
            if outcome["rule"] not in NO_PROOF and voucher.key not in self._found:
                self._look_for_proof(voucher)

    def _look_for_proof(self, voucher: Voucher) -> None:
        """Where a refused voucher contradicts a redeemed one, remember the proof, one of each wallet; write it down.

        Also of one that came too late, or of a wallet that is stopped: else whoever brings it would not learn why.
        """
        from chainnode.vouchers import found_double_spend, proof_document

        report = found_double_spend(self._client, self._chain_id, voucher)
        if report is None:
            return
        self._found[voucher.key] = report
        if self._proofs is not None:
            from chainnode.files import write_file

            self._proofs.mkdir(parents=True, exist_ok=True)
            path = self._proofs / f"double-spend-{voucher.key.hex()[:16]}-{voucher.counter}.json"
            document = json.dumps(proof_document(self._chain_id, report), indent=2).encode()
            write_file(path, document + b"\n", mode=0o644)
            say(f"proof of double spending written to {path}")

    def prove(self) -> None:
        """Submit the proofs that were found: once all else is redeemed, since they stop what their wallets signed."""
        for key, report in self._found.items():
            row = self._send([report])[0]
            applied = (row.get("outcome") or {}).get("applied")
            what = "applied, the wallet redeems nothing more" if applied else _rule(row) or row["status"]
            say(f"double spending by the wallet of {key.hex()[:16]}: proof {row.get('id')} {what}")
            if applied and self._is_open(str(row["id"])):
                say(f"proposal {row['id']} to suspend it for good is open: `chainnode member approve`")

    def _is_open(self, proposal: str) -> bool:
        """Say whether a proof opened a proposal: it does unless the wallet was stopped, or too many are open."""
        from chainnode.client import NOT_FOUND, CallRefused

        try:
            return bool(self._client.call("gov_getProposal", id=proposal)["proposal"]["stage"] == "open")
        except CallRefused as refused:
            if refused.code != NOT_FOUND:
                raise
            return False

    def _in_time(self) -> bool:
        return time.monotonic() < self._end_s

    def _send(self, bodies: Sequence[RedeemVouchers | ReportDoubleSpend]) -> list[Row]:
        from secrets import token_bytes

        from chainnode.submission import NewEvent, send_within
        from ledger.voucher_bodies import REDEEM_VOUCHERS, REPORT_DOUBLE_SPEND, SCHEMA, RedeemVouchers
        from primitives.encoding import encode

        if not bodies:
            return []
        if not self._in_time():
            return [{"id": None, "status": "Unknown", "message": NOT_SENT} for _ in bodies]
        kinds = [REDEEM_VOUCHERS if isinstance(body, RedeemVouchers) else REPORT_DOUBLE_SPEND for body in bodies]
        events = [
            NewEvent(kind, SCHEMA, encode(body), "vouchers", token_bytes(16))
            for kind, body in zip(kinds, bodies, strict=True)
        ]
        left_s = max(self._end_s - time.monotonic(), 0.1)
        return send_within(self._client, self._door, events, timeout_s=left_s)

    def say_bad(self, error: InputError) -> None:
        """Tell of a line that is no voucher."""
        self.told.append(REFUSED)
        row = {"key": None, "counter": None, "result": REFUSED, "why": str(error), "event": None}
        self._out.add(row, f"{REFUSED:<16} {error}")

    def _say(self, voucher: Voucher, word: str, why: str, event: str | None) -> None:
        self.told.append(word)
        row = {"key": voucher.key.hex(), "counter": voucher.counter, "result": word, "why": why or None, "event": event}
        self._out.add(row, f"{word:<16} {voucher.key.hex()[:16]} {voucher.counter} {why}".rstrip())


def _rule(row: Row) -> str:
    return str((row.get("outcome") or {}).get("rule") or "")


def _of_one(row: Row) -> bool:
    """Say whether an event was rejected for one of its vouchers, so that others of it may be good."""
    rule = _rule(row)
    return rule.startswith("voucher_") or rule in ("double_spend", "wallet_expired")


@voucher.command("show")
@click.argument("wallet", metavar="WALLET")
@click.argument("counter", type=click.IntRange(0))
def show_voucher(wallet: str, counter: int) -> None:
    """Show the voucher number COUNTER of WALLET that was redeemed, and by whom."""
    show(settings().client().call("voucher_get", wallet=hash_of(wallet, "a wallet"), counter=counter), title="voucher")


@voucher.command("verify-double-spend")
@click.argument("file", type=click.Path(path_type=Path))
def verify_double_spending(file: Path) -> None:
    """Verify FILE, a proof that a wallet spent twice, without a node. Status 3 where it does not hold."""
    from chainnode.cli.exits import VerificationFailed
    from chainnode.files import read_file
    from chainnode.vouchers import PROOF_SIZE_MAX, read_double_spend
    from ledger.voucher_bodies import verify_double_spend

    chain_id, report = read_double_spend(read_file(file, size_max=PROOF_SIZE_MAX), where=str(file))
    try:
        wallet = verify_double_spend(chain_id, report).hex()
    except ProofError as error:
        raise VerificationFailed(error.what, where=str(file), expected=error.expected, got=error.got) from None
    if settings().machine:
        show({"wallet": wallet, "key": report.first.key.hex(), "chain_id": chain_id.hex()})
    else:
        show_verdict(
            f"wallet {wallet} of chain {chain_id.hex()[:16]} signed two vouchers of which an honest one signs one"
        )
