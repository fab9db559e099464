"""The explorer: pages over the committed ledger that the node itself serves, for auditors and operators."""
