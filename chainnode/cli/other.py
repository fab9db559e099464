"""`version`, `completion` and the hidden `demo`."""

from __future__ import annotations

from pathlib import Path

import click

from chainnode.cli.output import show


@click.command()
def version() -> None:
    """Show the version of this program and of what it stands on."""
    import platform
    from importlib import metadata

    from chainnode.version import VERSION

    parts = {
        name: metadata.version(name) for name in ("pynacl", "cryptography", "plyvel", "aiohttp", "msgspec", "uvloop")
    }
    show({"version": VERSION, "python": platform.python_version(), **parts})


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print SHELL's completion script; load it with `source <(chainnode completion bash)`."""
    from click.shell_completion import get_completion_class

    from chainnode.cli.main import PROGRAM, root

    kind = get_completion_class(shell)
    assert kind is not None
    # click asks bash for its version before it prints; the script itself does not depend on it.
    script = kind(root, {}, PROGRAM, "_CHAINNODE_COMPLETE")
    click.echo(script.source_template % script.source_vars())


@click.command(hidden=True)
@click.option("--dir", "directory", type=click.Path(path_type=Path), help="Where the network lives; a temporary one.")
@click.option("--keep", is_flag=True, help="Leave the directory, and say where it is.")
def demo(directory: Path | None, keep: bool) -> int:
    """Run the demonstration: four banks, real input, a proof, a bank killed and brought back."""
    from chainnode.demo import run_demo

    return run_demo(directory, keep=keep)
