"""The verifier as somebody without the project has it: one file, loaded with either library for Ed25519."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from unittest import mock

FOLDER = Path(__file__).resolve().parents[2] / "verifier"
BACKENDS = {"pynacl": ("cryptography", "cryptography.exceptions"), "cryptography": ("nacl", "nacl.exceptions")}
"""By the library that is used: the modules that are not there."""


@cache
def load(backend: str = "pynacl", name: str = "verify_receipt") -> ModuleType:
    """Return the verifier, loaded where only one of the two libraries is installed."""
    hidden = dict.fromkeys(BACKENDS[backend])
    with mock.patch.dict(sys.modules, hidden), mock.patch.object(sys, "path", [str(FOLDER), *sys.path]):
        spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module
