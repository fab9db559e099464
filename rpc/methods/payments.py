"""payment_*: payment statements out of the index that follows the log."""

from __future__ import annotations

from rpc.registry import AnyMethod

METHODS: tuple[AnyMethod, ...] = ()
