"""JSON-RPC over HTTP: reads the ledger, submits through a port."""
