"""Assembly: configuration, identity, the pure core, the node that performs its effects, localnet."""
