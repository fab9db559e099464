"""A policy that demands outside witnesses beside the validators' quorum.

The validators' group stays as it is, and what must hold is a group of it and the witnesses: so other readers of C2SP
policies judge alike, and where the policy lists epochs the witnesses are demanded in each of them. Pure. Not here:
judging by a policy (`ledger.trust_policy`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ledger.trust_policy import NONE, parse_policy
from primitives.errors import UsageError
from primitives.notes import NoteKey

WITNESSES = "outside-witnesses"
BOTH = "validators-and-witnesses"
_NAME = re.compile(r"[^\s\x00-\x1f\x7f]+")


def with_witnesses(policy: str, witnesses: Mapping[str, NoteKey], threshold: str = "all") -> str:
    """Return a policy under which, beside its own quorum, `threshold` of these witnesses must have cosigned.

    `threshold` is `all`, `any` or a number. Raises ProofError where the policy is malformed, or a name or key of a
    witness stands in it already, and UsageError for a name that cannot stand there.
    """
    quorum = parse_policy(policy).quorum
    if not witnesses:
        raise UsageError("no witness to demand", expected="at least one")
    for name in witnesses:
        if not _NAME.fullmatch(name):
            raise UsageError("a witness's name in a policy", expected="no spaces or control characters", got=name)
    lines = [f"witness {name} {key.vkey()}" for name, key in witnesses.items()]
    lines.append(f"group {WITNESSES} {threshold} {' '.join(witnesses)}")
    if quorum == NONE:
        lines.append(f"quorum {WITNESSES}")
    else:
        lines += [f"group {BOTH} all {quorum} {WITNESSES}", f"quorum {BOTH}"]
    # Where the quorum stood: all that it names is defined above.
    held = [line if line.split()[:1] != ["quorum"] else "\n".join(lines) for line in policy.split("\n")]
    text = "\n".join(held)
    parse_policy(text)
    return text
