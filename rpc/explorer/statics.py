"""The explorer's files: style sheets, scripts and what scripts import, read once at the start.

Each is served under `/static/HASH/PATH`, where HASH stands for all files together: a browser keeps it for good, imports
of one module by another by relative paths work, and a new release is another HASH. Under `/static/PATH` it is served
with an entity tag. What was not read at the start is not there, so no path can lead out of the directory.
"""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from rpc.explorer.language import LANGUAGES, texts

TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".html": "text/html",
    ".wasm": "application/wasm",
    ".txt": "text/plain",
}
"""The types of what is served; files with another ending are not."""

FILE_BYTES_MAX = 4 * 1024 * 1024
HASH_DIGITS = 12
DIRECTORY = Path(__file__).parent / "static"
VERIFIER = Path(__file__).parents[2] / "web" / "verifier"
"""Where the verifier is in the tree; the wheel has it among the other files."""

WORDS = re.compile(
    r"(?:kind|status|payment_status|side|channel|agent_role|role|evidence_kind|outcome|field)\..+"
    r"|yes|no|none|event\.(?:schema|index)|certificate\.(?:counts|counts_not|none_then|revocation_due|catalogue)|payment\.(?:committed|same|different|one_side)"
)
"""The texts by which pages write values and name fields: scripts hold them against what is proved."""


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file's type, its bytes, these packed, and its entity tag."""

    type: str
    body: bytes
    packed: bytes
    tag: str


class Statics:
    """All files of a directory, by their path in it with slashes, and the modules of the verifier beside it."""

    def __init__(self, directory: Path = DIRECTORY, verifier: Path = VERIFIER) -> None:
        modules = {f"verifier/{path}": file for path, file in _read(verifier) if path.endswith(".mjs")}
        self._files = modules | _words() | dict(_read(directory))
        digest = sha256()
        for path, file in sorted(self._files.items()):
            digest.update(f"{path}\0{file.tag}\n".encode())
        self.hash = digest.hexdigest()[:HASH_DIGITS]

    def get(self, path: str) -> tuple[StaticFile, bool] | None:
        """Return the file that a path below `/static/` names, and whether it stays the same for good; else None."""
        head, _, rest = path.partition("/")
        if head == self.hash:
            return (self._files[rest], True) if rest in self._files else None
        return (self._files[path], False) if path in self._files else None

    def url(self, path: str) -> str | None:
        """Return the URL of a file; None where there is none, as scripts in a tree that was not built."""
        return f"/static/{self.hash}/{path}" if path in self._files else None


@cache
def statics() -> Statics:
    """Return the files of this process; they are read once."""
    return Statics()


def _words() -> dict[str, StaticFile]:
    """Return the words of each language as `words/LANGUAGE.json`."""
    found = {}
    for language in LANGUAGES:
        words = {key: text for key, text in texts(language).items() if WORDS.fullmatch(key)}
        body = json.dumps(words, ensure_ascii=False, separators=(",", ":")).encode()
        found[f"words/{language}.json"] = _file(TYPES[".json"], body)
    return found


def _file(type_: str, body: bytes) -> StaticFile:
    return StaticFile(type_, body, gzip.compress(body, mtime=0), sha256(body).hexdigest()[:32])


def _read(directory: Path) -> list[tuple[str, StaticFile]]:
    found = []
    for path in sorted(directory.rglob("*")):
        type_ = TYPES.get(path.suffix)
        parts = path.relative_to(directory).parts
        if type_ is None or "node_modules" in parts or not path.is_file() or path.stat().st_size > FILE_BYTES_MAX:
            continue
        found.append(("/".join(parts), _file(type_, path.read_bytes())))
    return found
