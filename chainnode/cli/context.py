"""What every command knows: the global options, and the node, home and key that they lead to.

Global options may stand before or after the command's name; the last one given counts.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from primitives.errors import UsageError

if TYPE_CHECKING:
    from chainnode.client import NodeClient
    from chainnode.config import LoadedConfig
    from chainnode.home import Home
    from chainnode.identity import KeyFile

DEFAULT_ENDPOINT = "http://127.0.0.1:7401"
DEFAULT_LOCALNET = "var/localnet"
HASH_DIGITS = 64
OUTPUTS = ("table", "json", "jsonl")


@dataclass
class Settings:
    """The global options as given; owned by one run of the command line."""

    as_key: Path | None = None
    output: str = "table"
    endpoint: str | None = None
    token_file: Path | None = None
    home: Path | None = None
    verbose: int = 0
    color: bool = True
    config_flags: dict[str, str] = field(default_factory=dict)

    @property
    def machine(self) -> bool:
        """Whether the output is for a program."""
        return self.output != "table"

    def require_home(self) -> Home:
        """Return the home that --home or $CHAINNODE_HOME names. Raises `UsageError` where neither does."""
        from chainnode.home import Home

        if self.home is None:
            raise UsageError("no home is named", hint="use --home DIR or set CHAINNODE_HOME")
        return Home(self.home)

    def load_config(self, home: Home) -> LoadedConfig:
        """Return a home's settings, merged. Raises `NotFound` where it is no node's home."""
        from chainnode.config import load_node_config
        from chainnode.files import NotFound

        if not home.config.is_file():
            raise NotFound(
                "not a node's home",
                where=str(home.root),
                expected=str(home.config.relative_to(home.root)),
                hint="make one with `chainnode init`, or name it with --home or $CHAINNODE_HOME",
            )
        return load_node_config(home.config, os.environ, self.config_flags)

    def client(self, *, timeout_s: float = 30.0, token: bool = False) -> NodeClient:
        """Return a client of the node that --endpoint or the home names, with the home's token where `token`."""
        from chainnode.client import NodeClient

        endpoint, token_path = self.endpoint, self.token_file
        if self.home is not None:
            home = self.require_home()
            rpc = self.load_config(home).config.rpc
            endpoint = endpoint or f"{'https' if rpc.tls_certificate_file else 'http'}://{rpc.listen}"
            token_path = token_path or home.resolve(rpc.token_file)
        elif endpoint is None or token:
            found, its_token = self._localnet_node(endpoint)
            endpoint, token_path = endpoint or found, token_path or its_token
        value = None
        if self.token_file is not None or (token and token_path is not None):
            from chainnode.identity import read_token

            assert token_path is not None
            if self.token_file is not None or token_path.exists():
                value = read_token(token_path)
        return NodeClient(endpoint or DEFAULT_ENDPOINT, token=value, timeout_s=timeout_s)

    def _localnet_node(self, endpoint: str | None) -> tuple[str | None, Path | None]:
        """Return endpoint and token of a localnet's running node: of the key's, or of the default directory.

        `endpoint` narrows it to the node that serves there. Nothing where there is no localnet: the default stands.
        """
        import json

        near = [self.as_key.parent.parent] if self.as_key is not None else []
        for directory in [*near, Path(os.environ.get("CHAINNODE_LOCALNET", DEFAULT_LOCALNET))]:
            try:
                nodes = json.loads((directory / "localnet.json").read_bytes())["nodes"]
                for node in nodes:
                    pid = (node.get("process") or {}).get("pid")
                    wanted = endpoint is None or node["rpc"] == endpoint.rstrip("/")
                    if wanted and pid and Path(f"/proc/{pid}").exists():
                        return node["rpc"], Path(node["home"]) / "keys" / "token"
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                continue
        return None, None

    def require_key(self) -> KeyFile:
        """Return the key that --as names. Raises `UsageError` where none is named."""
        from chainnode.identity import read_key

        if self.as_key is None:
            raise UsageError(
                "no key is named", hint="use --as KEYFILE: who acts is who signs (localnet writes one per role)"
            )
        return read_key(self.as_key, "source", "officer")


def settings() -> Settings:
    """Return the settings of the running command."""
    found = click.get_current_context().find_object(Settings)
    assert found is not None
    return found


def event_id_of(text: str) -> str:
    """Return an argument that names an event as the node takes it; `UsageError` for what cannot be an id."""
    return hash_of(text, "an event's id")


def hash_of(text: str, what: str) -> str:
    """Return 32 bytes in hex, in small letters; `UsageError` for anything else."""
    if len(text) != HASH_DIGITS or not set(text.lower()) <= set("0123456789abcdef"):
        raise UsageError(f"not {what}", expected=f"{HASH_DIGITS} hex digits", got=f"{len(text)} characters")
    return text.lower()


def _store(name: str) -> Any:  # Any: click's callback type
    def callback(context: click.Context, parameter: click.Parameter, value: Any) -> None:
        del parameter
        if value is None or value is False or value == 0:
            return
        target = context.find_object(Settings)
        assert target is not None
        if name == "color":
            target.color = False
        else:
            setattr(target, name, value)

    return callback


def global_options(*, hidden: bool) -> list[click.Option]:
    """Return fresh instances of the options that every command takes; hidden below the root to keep help short."""

    def option(*names: str, to: str, **attributes: Any) -> click.Option:  # Any: click's own keyword arguments
        return click.Option(names, expose_value=False, callback=_store(to), hidden=hidden, **attributes)

    path = click.Path(path_type=Path)
    environment = {} if hidden else {"envvar": "CHAINNODE_HOME", "show_envvar": True}
    return [
        option("--as", to="as_key", type=path, metavar="KEYFILE", help="Key of the source or officer that signs."),
        option(
            "-o",
            "--output",
            to="output",
            type=click.Choice(OUTPUTS),
            help="Form of the data on stdout. [default: table]",
        ),
        option("--endpoint", to="endpoint", metavar="URL", help=f"The node to ask. [default: {DEFAULT_ENDPOINT}]"),
        option("--token-file", to="token_file", type=path, metavar="F", help="File with the token for submitting."),
        option("--home", to="home", type=path, metavar="DIR", help="The node's home.", **environment),
        option("-v", "--verbose", to="verbose", count=True, help="Say more; twice shows stack traces."),
        option("--no-color", to="color", is_flag=True, help="No colours (also NO_COLOR)."),
    ]
