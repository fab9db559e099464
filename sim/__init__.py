"""Virtual network, clock and disk, and a cluster of pure cores on them."""
