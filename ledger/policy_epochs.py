"""The epochs that a policy knows: a line of its own for each, which other readers of C2SP policies take for a comment.

    #chainnode epoch NUMBER from SIZE BASE64

SIZE is the least size of a log that this epoch's validators cosign, BASE64 the canonical bytes of the validator set. So
a policy that was exported in a later epoch still judges checkpoints of an earlier one, and only those of its heights;
and a proof of a still later epoch can bring along each change of the set (`ledger.handovers`). Pure.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence

from ledger.handovers import EpochSpan
from primitives.encoding import decode, encode
from primitives.errors import EncodingError, InputError, ProofError
from primitives.notes import COSIGNATURE_V1, ED25519, NoteKey
from primitives.validators import Validator, ValidatorSet

MARK = "#chainnode"
SET_SIZE_MAX = 1 << 17
SIZE_MAX = 2**63 - 1
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")


def group_of(epoch: int) -> str:
    """Return the name of the group that stands for an epoch's validators."""
    return f"validators-of-epoch-{epoch}"


def epoch_line(span: EpochSpan) -> str:
    """Return the line of an epoch."""
    encoded = base64.b64encode(encode(span.validators)).decode()
    return f"{MARK} epoch {span.validators.epoch} from {span.size_min} {encoded}"


def parse_epoch_line(words: Sequence[str], where: str) -> EpochSpan:
    """Return the span of a line's words. Raises ProofError where they are not the one spelling of a sound set."""
    if len(words) != 6 or words[:2] != [MARK, "epoch"] or words[3] != "from":
        raise ProofError(
            "line of a policy not understood", where=where, expected=f"{MARK} epoch NUMBER from SIZE BASE64"
        )
    size_min = int(words[4]) if _DECIMAL.fullmatch(words[4]) else 0
    if not 1 <= size_min <= SIZE_MAX:
        raise ProofError("size of an epoch's first log", where=where, expected=f"1 to {SIZE_MAX}", got=words[4])
    try:
        validators = decode(ValidatorSet, base64.b64decode(words[5], validate=True), size_max=SET_SIZE_MAX)
        validators.check()
    except (binascii.Error, ValueError):
        raise ProofError("not base64", where=where, got=words[5]) from None
    except (EncodingError, InputError) as error:
        raise ProofError(error.what, where=where, expected=error.expected, got=error.got) from None
    span = EpochSpan(size_min, validators)
    if epoch_line(span).split(" ") != list(words):
        raise ProofError("epoch of a policy spelled in another way", where=where, expected=epoch_line(span))
    return span


def check_order(spans: Sequence[EpochSpan], span: EpochSpan, where: str) -> None:
    """Raise ProofError unless an epoch follows on those before it."""
    if not spans:
        return
    last = spans[-1]
    if span.validators.epoch != last.validators.epoch + 1 or span.size_min <= last.size_min:
        raise ProofError(
            "epochs of a policy out of order",
            where=where,
            expected=f"epoch {last.validators.epoch + 1} from above {last.size_min}",
            got=f"epoch {span.validators.epoch} from {span.size_min}",
        )


def span_at(spans: Sequence[EpochSpan], size: int) -> EpochSpan:
    """Return the span whose validators cosign a log of `size` leaves; ProofError where it lies before them all."""
    for span in reversed(spans):
        if span.size_min <= size:
            return span
    raise ProofError(
        "checkpoint of an epoch before those of the policy",
        expected=f"a size from {spans[0].size_min} on",
        got=size,
        hint="verify under an older policy, or one that names all epochs",
    )


def cosigner_key_of(chain: str, validator: Validator) -> NoteKey:
    """Return the key with which a validator of this chain cosigns checkpoints."""
    return NoteKey(f"{chain}/{validator.name}", COSIGNATURE_V1, validator.cosign_key)


def log_key_of(origin: str, validator: Validator) -> NoteKey:
    """Return the key with which a validator signs checkpoints as the log."""
    return NoteKey(origin, ED25519, validator.log_key)
