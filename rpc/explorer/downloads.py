"""Proofs to keep: a certificate's status and history, a member's completeness, each as `chainnode verify` takes it.

Receipts and the newest checkpoint are plain resources of the listener already (`rpc.resources`).
"""

from __future__ import annotations

from rpc.errors import Code, RpcError, unavailable
from rpc.explorer.asking import Asked, Download, ask
from rpc.explorer.certificates import moment
from rpc.methods.audit import get_completeness
from rpc.methods.certificate_history import get_history_proof
from rpc.methods.certificate_status import get_certificate_status
from rpc.proofs import CHECKPOINT_RETRY_MS

PAGES_MAX = 16


def status_proof(asked: Asked) -> Download:
    """The proof of what a certificate is worth, or that there is none, now or at `?at=`."""
    number = asked.parts["number"]
    found = ask(get_certificate_status, asked.services, number=number, at=moment(asked.word("at")))
    if found.proof is None:
        pending = found.proof_pending
        hint = None if pending is None else pending.hint
        raise unavailable("checkpoint_pending", "there is no proof yet", hint=hint, retry_after_ms=CHECKPOINT_RETRY_MS)
    return Download(f"{number}-status.tlog-proof", found.proof)


def history_proof(asked: Asked) -> Download:
    """The proof of a certificate's whole history."""
    number, pages = asked.parts["number"], list[str]()
    at, first = moment(asked.word("at")), 0
    for _ in range(PAGES_MAX):
        page = ask(get_history_proof, asked.services, number=number, at=at, first=first)
        pages.append(page.proof)
        if page.next is None:
            return Download(f"{number}-history.tlog-proof", "".join(pages))
        at, first = page.height, page.next
    raise _too_long("chainnode cert history NUMBER --proof FILE")


def completeness_proof(asked: Asked) -> Download:
    """The proof of all that a member submitted between `?from=` and `?to=`, heights or times."""
    member, pages = asked.parts["name"], list[str]()
    start, stop = moment(asked.word("from")), moment(asked.word("to"))
    for _ in range(PAGES_MAX):
        page = ask(get_completeness, asked.services, **{"member": member, "from": start, "to": stop})
        pages.append(page.proof)
        if page.next is None:
            return Download(f"{member}.tlog-proof", "".join(pages))
        start, stop = page.next, page.covered if stop is None else stop
    raise _too_long("chainnode audit completeness --member ID --from HEIGHT --to HEIGHT")


def _too_long(command: str) -> RpcError:
    return RpcError(
        Code.LIMIT_EXCEEDED,
        "proof_too_long",
        "the proof is too long for a page",
        expected=f"at most {PAGES_MAX} pages of a proof",
        got="more",
        hint=f"ask for less, or run `{command}`",
    )
