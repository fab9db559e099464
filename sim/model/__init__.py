"""An abstract model of the protocol: explored by itself, and held against every simulated run of the real one."""
