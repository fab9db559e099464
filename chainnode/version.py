"""The version of this distribution; `pyproject.toml` has the same, which a test holds."""

VERSION = "0.1.0"
