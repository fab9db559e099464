"""Pure ground floor: ids, hashing, keys, canonical encoding, Merkle trees, notes, validator sets, certificates."""
