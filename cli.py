"""The command line's entry point: `chainnode` and `python -m cli`. The commands live in `chainnode.cli`."""

from chainnode.cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
