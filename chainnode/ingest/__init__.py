"""Adapters that turn a bank's messages into events: pure functions of bytes, context and secrets."""
