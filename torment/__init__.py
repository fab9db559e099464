"""Torment: seeded manifests of faults that real nodes of a localnet must survive."""
