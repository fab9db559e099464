"""Hardened reading of ISO 20022 files: from bytes to messages and their transactions, as small trees.

Here: everything that an attacker's XML can try, and where messages begin and end, with or without envelope. Not here:
what elements mean (`chainnode.ingest.iso20022`). DTDs, entities and external references are forbidden (defusedxml);
size, depth, counts and lengths are limited, and each limit is judged as the parser goes, so a bomb is refused where
it begins. A transaction's tree is handed on at its end and dropped, so memory follows the largest one.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Protocol
from xml.parsers.expat import ErrorString, ExpatError
from xml.parsers.expat import XMLParserType as ExpatParser

from defusedxml import DTDForbidden, EntitiesForbidden, ExternalReferenceForbidden
from defusedxml.ElementTree import DefusedXMLParser

from chainnode.ingest.errors import MessageError, XmlError
from chainnode.ingest.xml_text import to_utf8

FILE_SIZE_MAX = 256 * 1024 * 1024  # 100,000 transactions of 1.5 kB, and room
DEPTH_MAX = 48
ELEMENTS_MAX = 16_000_000
TRANSACTION_ELEMENTS_MAX = 20_000
ATTRIBUTES_MAX = 16
ATTRIBUTE_LENGTH_MAX = 1024
NAME_LENGTH_MAX = 256
TEXT_LENGTH_MAX = 32_768
NAMES_MAX = 5_000  # different ones in a file; a message type has a few hundred
NAMES_MEMORY = 2_048  # full names of elements whose parts are remembered, over all files
PIECE_BYTES = 128 * 1024
TOKEN_BYTES_MAX = 256 * 1024
TEXT_PIECES_MAX = 256  # comments and CDATA cut a text in pieces; joining very many would take quadratic time
_SHOWN_MAX = 60

HEADER = "AppHdr"
DOCUMENT = "Document"


class Node:
    """One element: local name, text, the currency attribute, line (from 1) and children by name."""

    __slots__ = ("children", "currency", "line", "pieces", "tag", "text")

    def __init__(self, tag: str, line: int, currency: str | None = None) -> None:
        self.tag = tag
        self.line = line
        self.currency = currency
        self.text = ""
        self.pieces = 0  # of text so far; -1 once a child has begun, as no element has both
        self.children: dict[str, list[Node]] = _NO_CHILDREN

    def all(self, tag: str) -> list[Node]:
        """Return the children of that name, in their order."""
        return self.children.get(tag, [])

    def one(self, tag: str, *rest: str) -> Node | None:
        """Return the element at a path of names, or None; MessageError where one of them stands twice."""
        found = self.children.get(tag)
        if found is None:
            return None
        if len(found) > 1:
            raise MessageError(
                "element repeated", where=f"line {found[1].line}", expected=f"one {tag} in {self.tag}", got=len(found)
            )
        return found[0].one(*rest) if rest else found[0]

    def text_at(self, tag: str, *rest: str) -> str:
        """Return the text at a path without surrounding white space; empty where there is none."""
        node = self.one(tag, *rest)
        return "" if node is None else node.text.strip()


_NO_CHILDREN: dict[str, list[Node]] = {}  # every leaf's, never written to: most elements are leaves


class MessageSink(Protocol):
    """Who is told of messages and transactions while a file is read. An exception ends the reading."""

    def message_started(self, root: Node, namespace: str, header: Node | None) -> None:
        """Take note of a message whose root element has just begun; `header` is its application header."""

    def document_refused(self, error: MessageError) -> None:
        """Take note of a Document that holds no message of a known type; raising refuses the file."""

    def transaction_ended(self, transaction: Node, ancestors: list[Node], source: memoryview) -> None:
        """Take one transaction; `ancestors` run from the message's root to its parent, as read so far.

        `source` is the transaction's own bytes in UTF-8, from its first tag to its last.
        """

    def message_ended(self, root: Node, source: memoryview) -> None:
        """Take the end of a message; `source` is the message's own bytes in UTF-8, Document element included."""


def read_messages(data: bytes, roots: Mapping[str, tuple[str, ...]], sink: MessageSink, *, where: str) -> None:
    """Read a file and tell `sink` of each message in it.

    `roots` gives, by a message's root element, the path from there to its transactions. XmlError for whatever is not
    well formed, forbidden or beyond a limit, MessageError for a Document of another kind; both name file and line.
    """
    if len(data) > FILE_SIZE_MAX:
        raise XmlError("file too large", where=where, expected=f"at most {FILE_SIZE_MAX} bytes", got=len(data))
    text = to_utf8(data, where=where)
    guarded = DefusedXMLParser(
        target=object(), encoding="utf-8", forbid_dtd=True, forbid_entities=True, forbid_external=True
    )
    # defusedxml has put its guards on this expat parser; the element handlers are ours, for limits and for speed.
    expat: ExpatParser = guarded.parser
    reader = _Reader(expat, roots, sink, text, where)
    try:
        _feed(expat, text, where)
    except ExpatError as error:
        what = ErrorString(error.code) or "syntax error"
        raise XmlError("not well-formed XML", where=f"{where}:{error.lineno}", expected="XML 1.0", got=what) from None
    except (DTDForbidden, EntitiesForbidden, ExternalReferenceForbidden) as error:
        got = {"DTDForbidden": "a DTD", "EntitiesForbidden": "an entity declaration"}.get(type(error).__name__)
        raise XmlError(
            "forbidden in payment files",
            where=f"{where}:{expat.CurrentLineNumber}",
            expected="elements and text only",
            got=got or "an external reference",
        ) from None
    if reader.messages == 0:
        raise MessageError("no message found", where=where, expected=" or ".join(roots), got=reader.root_tag)


def _feed(expat: ExpatParser, text: bytes, where: str) -> None:
    """Give a file to the parser piece by piece; XmlError where it cannot get on, in a comment or tag without end.

    A parser before expat 2.6 scans what has not ended from its beginning with each piece, in quadratic time.
    """
    view = memoryview(text)
    for start in range(0, len(view), PIECE_BYTES):
        expat.Parse(view[start : start + PIECE_BYTES], False)
        if start - expat.CurrentByteIndex > TOKEN_BYTES_MAX:
            expected = f"at most {TOKEN_BYTES_MAX} bytes of a comment, tag or instruction"
            place = f"{where}:{expat.CurrentLineNumber}"
            raise XmlError("markup beyond its limit", where=place, expected=expected, got="more")
    expat.Parse(b"", True)


@lru_cache(maxsize=NAMES_MEMORY)
def _split(name: str) -> tuple[str, str]:
    """Return namespace and local name of an element, remembered: payments have few names, many times."""
    namespace, _, tag = name.rpartition("}")
    return namespace, tag


class _Reader:
    """Handlers of one parse: keeps the open elements, counts, and cuts the file into messages."""

    def __init__(
        self, expat: ExpatParser, roots: Mapping[str, tuple[str, ...]], sink: MessageSink, text: bytes, where: str
    ) -> None:
        self.messages = 0
        self.root_tag = ""
        self._expat = expat
        self._roots = roots
        self._sink = sink
        self._text = text
        self._where = where
        self._open: list[Node] = []
        self._elements = 0
        self._elements_stop = ELEMENTS_MAX  # of the file, or while a transaction is read, where it has too many
        self._header: Node | None = None
        self._source_start = 0
        self._unit_start = 0
        self._finished: Node | None = None  # a message's root that has ended, while its Document is still open
        self._root_depth = 0  # how many elements are open at the message's root; 0 outside of messages
        self._unit_depth = 0  # and at its transactions
        self._unit_path: tuple[str, ...] = ()
        self._namespace = ""
        self._document_namespace = ""
        self._names: dict[str, tuple[str, str]] = {}
        expat.buffer_text = True
        expat.ordered_attributes = False
        expat.StartElementHandler = self._start
        expat.EndElementHandler = self._end
        expat.CharacterDataHandler = self._characters

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        """Open an element. Together with `_end` and `_characters` this is most of what reading costs."""
        opened = self._open
        depth = len(opened) + 1
        self._elements += 1
        if depth > DEPTH_MAX or self._elements > self._elements_stop:
            self._refuse_count(depth)
        if attributes:
            self._check_attributes(attributes)
            currency = attributes.get("Ccy")
        else:
            currency = None
        split = self._names.get(name)
        if split is None:
            split = self._new_name(name)
        namespace, tag = split
        if self._root_depth:
            if namespace != self._namespace:
                tag = name  # a foreign element: its full name is on no path that is ever looked for
            if depth == self._unit_depth:
                self._elements_stop = min(ELEMENTS_MAX, self._elements + TRANSACTION_ELEMENTS_MAX)
                self._unit_start = self._expat.CurrentByteIndex
        node = Node(tag, self._expat.CurrentLineNumber, currency)
        if not self._root_depth:
            self._start_outside(node, namespace, depth)
        if opened:
            parent = opened[-1]
            # Text beside elements would be read in part, and an amount be another.
            if parent.pieces > 0 and not parent.text.isspace():
                raise self._mixed(parent)
            parent.pieces = -1
        opened.append(node)

    def _new_name(self, name: str) -> tuple[str, str]:
        """Return the parts of a name that the file has not had before; the parser keeps each, so they are limited."""
        split = _split(name)
        if len(split[1]) > NAME_LENGTH_MAX:
            raise self._limit("element name", f"at most {NAME_LENGTH_MAX} characters", len(split[1]))
        if len(self._names) >= NAMES_MAX:
            raise self._limit("file", f"at most {NAMES_MAX} different names of elements", "more")
        self._names[name] = split
        return split

    def _mixed(self, node: Node) -> XmlError:
        return XmlError(
            "text and elements mixed",
            where=f"{self._where}:{self._expat.CurrentLineNumber}",
            expected=f"either text or elements in {node.tag[-_SHOWN_MAX:]}",
            got="both",
        )

    def _start_outside(self, node: Node, namespace: str, depth: int) -> None:
        """Handle an element outside of messages: it may open a document or a message."""
        if depth == 1:
            self.root_tag = node.tag
        in_document = bool(self._open) and self._open[-1].tag == DOCUMENT
        if node.tag == DOCUMENT:
            self._source_start = self._expat.CurrentByteIndex
            self._document_namespace = namespace
        elif node.tag in self._roots and self._finished is None:
            self._root_depth = depth
            self._unit_path = self._roots[node.tag]
            self._unit_depth = depth + len(self._unit_path)
            self._namespace = namespace
            if in_document and self._document_namespace not in ("", namespace):
                raise XmlError(
                    "Document of another namespace than its message",
                    where=f"{self._where}:{node.line}",
                    expected=repr(namespace[:_SHOWN_MAX]),
                    got=repr(self._document_namespace[:_SHOWN_MAX]),
                )
            if not in_document:
                self._source_start = self._expat.CurrentByteIndex
            self.messages += 1
            self._sink.message_started(node, namespace, self._header)
        elif in_document:
            what = "message type not supported" if self._finished is None else "more than one message in a Document"
            expected = " or ".join(self._roots) if self._finished is None else "one"
            self.messages += 1
            self._sink.document_refused(MessageError(what, where=f"line {node.line}", expected=expected, got=node.tag))

    def _end(self, _name: str) -> None:
        opened = self._open
        node = opened.pop()
        depth = len(opened) + 1
        if self._root_depth:
            if depth == self._root_depth:
                self._end_root(node)
                return
            if depth == self._unit_depth:
                self._elements_stop = ELEMENTS_MAX
                if self._is_transaction(node):
                    self._sink.transaction_ended(node, opened[self._root_depth - 1 :], self._source(self._unit_start))
                    return
        elif node.tag == HEADER:
            self._header = node
            return
        elif node.tag == DOCUMENT:
            if self._finished is not None:
                self._end_message(self._finished)
            return
        elif depth == 1:
            return
        parent = opened[-1]
        siblings = parent.children
        if siblings is _NO_CHILDREN:
            parent.children = {node.tag: [node]}
        elif node.tag in siblings:
            siblings[node.tag].append(node)
        else:
            siblings[node.tag] = [node]

    def _end_root(self, root: Node) -> None:
        """End a message's root element; the message ends with the Document around it, where there is one."""
        self._root_depth = self._unit_depth = 0
        if self._open and self._open[-1].tag == DOCUMENT:
            self._finished = root
        else:
            self._end_message(root)

    def _end_message(self, root: Node) -> None:
        self._finished = self._header = None
        self._sink.message_ended(root, self._source(self._source_start))

    def _source(self, start: int) -> memoryview:
        """Return the bytes of the element that began at `start` and whose last tag is being read."""
        stop = self._text.index(b">", self._expat.CurrentByteIndex) + 1
        return memoryview(self._text)[start:stop]

    def _is_transaction(self, node: Node) -> bool:
        return (*(parent.tag for parent in self._open[self._root_depth :]), node.tag) == self._unit_path

    def _characters(self, text: str) -> None:
        node = self._open[-1]
        if node.pieces < 0:
            if not text.isspace():
                raise self._mixed(node)
            return  # white space between children
        node.pieces += 1
        node.text = node.text + text if node.text else text
        if len(text) > TEXT_LENGTH_MAX or node.pieces > 1:
            self._check_text(node)

    def _check_text(self, node: Node) -> None:
        if len(node.text) > TEXT_LENGTH_MAX or node.pieces > TEXT_PIECES_MAX:
            expected = f"at most {TEXT_LENGTH_MAX} characters in {TEXT_PIECES_MAX} pieces"
            raise self._limit("text", expected, f"{len(node.text)} in {node.pieces}")

    def _check_attributes(self, attributes: dict[str, str]) -> None:
        if len(attributes) > ATTRIBUTES_MAX:
            raise self._limit("attributes", f"at most {ATTRIBUTES_MAX} on an element", len(attributes))
        for value in attributes.values():
            if len(value) > ATTRIBUTE_LENGTH_MAX:
                raise self._limit("attribute", f"at most {ATTRIBUTE_LENGTH_MAX} characters", len(value))

    def _refuse_count(self, depth: int) -> None:
        if depth > DEPTH_MAX:
            raise self._limit("nesting", f"at most {DEPTH_MAX} levels", depth)
        if self._elements > ELEMENTS_MAX:
            raise self._limit("file", f"at most {ELEMENTS_MAX} elements", self._elements)
        raise self._limit("transaction", f"at most {TRANSACTION_ELEMENTS_MAX} elements", "more")

    def _limit(self, what: str, expected: str, got: object) -> XmlError:
        line = self._expat.CurrentLineNumber
        return XmlError(f"{what} beyond its limit", where=f"{self._where}:{line}", expected=expected, got=got)
