"""Benchmarks: what an event costs on four real nodes, and what it must cost at least. Nothing shipped imports this."""
