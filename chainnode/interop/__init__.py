"""Certificates for those who run no node: what a terminal, a wallet or another scheme's verifier takes.

Nothing here takes part in consensus: it reads what the ledger proves and says it in others' words.
"""
