"""By what a transaction of ISO 20022 is known again when its message is submitted again, as it was or corrected.

The key covers the transaction's own bytes and what its message and group say of all their transactions, but for counts
and sums: these change when another transaction is corrected, taken out or added. So the transactions that were good
keep their keys as long as the message keeps its id and time. Those of one key, alike in every byte, are numbered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from typing import Final

from chainnode.ingest.iso20022_xml import Node

TOTALS: Final = frozenset({"NbOfTxs", "CtrlSum", "TtlIntrBkSttlmAmt", "TtlRtrdIntrBkSttlmAmt", "TxsSummry"})
"""Elements around transactions that count or sum them up."""


class MessageKeys:
    """The keys of one message's transactions, in order."""

    def __init__(self) -> None:
        self._around: tuple[list[Node], bytes] = ([], b"")
        self._taken: Counter[bytes] = Counter()

    def key_of(self, message_type: str, ancestors: list[Node], source: memoryview) -> bytes:
        """Return the key (32 bytes) of a transaction; `ancestors` and `source` as `MessageSink` gets them."""
        known, around = self._around
        if known != ancestors:
            around = _digest_around(message_type, ancestors)
            self._around = (list(ancestors), around)
        digest = sha256(around)
        digest.update(source)
        return digest.digest()

    def next_index(self, key: bytes) -> int:
        """Return the number of the next payment of a key."""
        index = self._taken[key]
        self._taken[key] = index + 1
        return index


def _digest_around(message_type: str, ancestors: list[Node]) -> bytes:
    texts = [message_type]
    for ancestor in ancestors:
        texts += _texts(ancestor)
    # A zero byte stands in no XML, so no two lists of texts are joined alike.
    return sha256("\0".join(texts).encode()).digest()


def _texts(node: Node) -> Iterator[str]:
    """Yield what an element says, in one form: white space between elements and around texts says nothing."""
    yield node.tag
    yield node.currency or ""
    yield node.text.strip()
    for name, children in node.children.items():
        if name not in TOTALS:
            for child in children:
                yield from _texts(child)
    yield ""
