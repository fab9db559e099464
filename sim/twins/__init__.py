"""Twins: one validator's key runs on two replicas in different partitions, over every schedule of four rounds."""
