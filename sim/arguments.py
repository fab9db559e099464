"""The command lines of the developers' programs: numbers within named limits, and refusals of one line.

A program that was asked for nothing, or for more than a machine can do, says so with status 2: nothing done is no
success. Not here: what each program's options are.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Final, NoReturn

from primitives.errors import describe

REFUSED: Final = 2
JOBS_MAX: Final = 64
RUNS_MAX: Final = 1_000_000
"""Seeds, scenarios or walks of one call."""
SEED_MAX: Final = 2**53
DIGITS_MAX: Final = 20
HOURS_24_S: Final = 24 * 3_600


class Parser(argparse.ArgumentParser):
    """Reads a command line; what it cannot take is one line on stderr, and status 2."""

    def error(self, message: str) -> NoReturn:
        """End the process."""
        self.exit(REFUSED, f"{self.prog}: {message} (--help shows all options)\n")


def whole(least: int, most: int) -> Callable[[str], int]:
    """Return what reads an option's whole number; `argparse.ArgumentTypeError` where it is none, or out of bounds."""

    def read(text: str) -> int:
        is_number = text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX
        if not (is_number and least <= int(text) <= most):
            expected = f"a whole number from {least:,} to {most:,}"
            raise argparse.ArgumentTypeError(describe("out of bounds", expected=expected, got=text))
        return int(text)

    return read
