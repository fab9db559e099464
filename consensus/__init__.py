"""The pure PBFT replica: typed inputs in, typed effects out."""
