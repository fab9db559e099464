"""Events, batches, execution, authenticated state, proofs and the store."""
