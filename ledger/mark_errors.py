"""Why the code of a certification mark is not taken: it says something else, or does not match the chain.

Light to import: the command line derives exit statuses from these.
"""

from __future__ import annotations

from primitives.errors import InputError


class MarkCodeError(InputError):
    """What a code says does not match the chain, or is not a mark's code at all."""

    reason = "bad_mark"


class ForeignCode(MarkCodeError):
    """The code is none of a certification mark."""

    reason = "foreign_code"


class LookalikeNumber(MarkCodeError):
    """The code holds what looks like a certificate's number and is none."""

    reason = "lookalike_number"


class ForeignHost(MarkCodeError):
    """The code leads to a site that is not one of the chain's explorers."""

    reason = "foreign_host"


class OtherChain(MarkCodeError):
    """The code is of another chain."""

    reason = "other_chain"


class ForgedMark(MarkCodeError):
    """The code's hash is not that of the certificate of this number."""

    reason = "forged_mark"
