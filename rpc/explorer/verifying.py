"""The page on which a browser verifies a file that its reader drops there; the file never leaves the browser."""

from __future__ import annotations

from rpc.explorer.asking import Asked, Page


def verify(asked: Asked) -> Page:
    """The shell of that page; without the script it says which command does the same."""
    del asked
    return Page("verify.html", "verify.title", {})
