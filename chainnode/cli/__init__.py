"""The commands of `chainnode`, one module a group, each imported only when it is called."""
