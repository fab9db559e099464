"""A node's settings: the sections, their defaults and units, and how flag, environment, file and default are merged.

Lives here: the frozen structs, reading `config/node.toml`, naming the origin of every value, refusing unknown keys.
Does not: chain policy (that is governed state, `ledger`), keys (`identity`), directories (`home`).
Source: `configs/node.toml`, which shows every key with its default and is held equal by a test.
"""

import difflib
import ipaddress
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import msgspec

from ledger.witnessed import WITNESSES_MAX
from p2p.config import NAME_PATTERN
from primitives.errors import ProofError, UsageError
from primitives.notes import COSIGNATURE_V1, parse_vkey

ENVIRONMENT_PREFIX = "CHAINNODE_"
CONFIG_SIZE_BYTES_MAX = 256 * 1024

Milliseconds = Annotated[int, msgspec.Meta(ge=1, le=86_400_000)]
Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]
Bytes = Annotated[int, msgspec.Meta(ge=1, le=1 << 40)]
Address = Annotated[
    str, msgspec.Meta(pattern=r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}$", description="host:port")
]
# Refused in a path: nothing but the empty string, which would silently mean the home itself.
PathText = Annotated[str, msgspec.Meta(min_length=1)]
# It goes into a header as it stands.
OriginText = Annotated[str, msgspec.Meta(pattern=r"^https?://[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?$")]


RoleRate = Annotated[
    str, msgspec.Meta(pattern=r"^(operator|submitter|officer|auditor|regulator|public)=[1-9][0-9]{0,8}$")
]


class ConfigError(UsageError):
    """A setting that is unknown, mistyped or out of range; the node refuses to start."""

    reason = "bad_config"


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every section: frozen, named, nothing unknown."""


class NodeSection(Section, frozen=True):
    """Who this node is; both names must stand in genesis (a validator) or in its TLS certificate (an observer)."""

    name: str = ""
    member: str = ""


class P2PSection(Section, frozen=True):
    """Connections between nodes; validators' addresses come from the chain, `peers` adds or overrides some.

    `name@host:port` of a validator that the chain knows, or of a node whose member is called as it is; otherwise
    `name/member@host:port`.
    """

    listen: Address = "127.0.0.1:7400"
    peers: list[
        Annotated[
            str,
            msgspec.Meta(
                pattern=r"^[A-Za-z0-9._-]+(/[a-z0-9-]+)?@.+:[0-9]{1,5}$",
                description="name@host:port or name/member@host:port",
            ),
        ]
    ] = []
    unlisted_peers_max: Count = 64
    queue_bytes_max: Bytes = 64 * 1024 * 1024
    peer_bytes_per_second_max: Bytes = 128 * 1024 * 1024
    handshake_timeout_ms: Milliseconds = 5_000
    reconnect_delay_ms_max: Milliseconds = 10_000


class RpcSection(Section, frozen=True):
    """The JSON-RPC listener; anywhere but on loopback it needs TLS."""

    listen: Address = "127.0.0.1:7401"
    hosts: list[str] = []
    origins: list[str] = []
    token_file: PathText = "keys/token"  # noqa: S105  a path, not a token
    tls_certificate_file: str = ""
    tls_key_file: str = ""
    body_bytes_max: Bytes = 8 * 1024 * 1024
    connections_max: Count = 512
    requests_per_second_max: Count = 2_000
    requests_per_second_of_roles: list[RoleRate] = []
    public: bool = False
    client_certificates: Literal["none", "optional", "required"] = "none"
    websockets_max: Count = 256
    websocket_requests_max: Count = 64
    subscriptions_max: Count = 1_024
    wait_timeout_ms: Milliseconds = 30_000
    explorer: bool = True
    explorer_origins: list[OriginText] = []


class OpsSection(Section, frozen=True):
    """Health and metrics, for the operator's own network; anywhere but on loopback it needs TLS."""

    listen: Address = "127.0.0.1:7402"
    tls_certificate_file: str = ""
    tls_key_file: str = ""
    proved_ago_ms_max: Milliseconds = 180_000


class ConsensusSection(Section, frozen=True):
    """Time-outs of this node; they change when it acts, never what is valid."""

    view_timeout_ms: Milliseconds = 2_000
    view_timeout_ms_max: Milliseconds = 60_000
    status_interval_ms: Milliseconds = 1_000
    proposal_interval_ms: Milliseconds = 100
    wal_bytes_max: Bytes = 64 * 1024 * 1024


class LedgerSection(Section, frozen=True):
    """The store under the home, and the archive to which bodies of old batches move.

    `archive_path` is written and read, `archive_more` are read besides. With both `keep_bodies_` at 0 nothing moves by
    itself; otherwise what is older than both say does (`ledger.archive_store` has the floor).
    """

    path: PathText = "data/ledger.ldb"
    cache_bytes: Bytes = 32 * 1024 * 1024
    write_buffer_bytes: Bytes = 32 * 1024 * 1024
    archive_path: PathText = "data/archive"
    archive_more: list[PathText] = []
    keep_bodies_blocks: Annotated[int, msgspec.Meta(ge=0, le=1 << 40)] = 0
    keep_bodies_days: Annotated[int, msgspec.Meta(ge=0, le=36_500)] = 0


class GatewaySection(Section, frozen=True):
    """How this node gathers its member's events into batches."""

    linger_ms: Annotated[int, msgspec.Meta(ge=0, le=60_000)] = 2
    pending_events_max: Count = 100_000
    pending_wait_ms_max: Milliseconds = 1_000
    batch_events_max: Annotated[int, msgspec.Meta(ge=1, le=1_024)] = 1_000


class WitnessesSection(Section, frozen=True):
    """Outside witnesses that are asked to cosign checkpoints: `VKEY URL`, the URL as C2SP's submission prefix."""

    ask: Annotated[
        list[Annotated[str, msgspec.Meta(pattern=r"^[^ ]+\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+ https?://[^ ]+$")]],
        msgspec.Meta(max_length=WITNESSES_MAX),
    ] = []
    interval_ms: Milliseconds = 1_000
    timeout_ms: Milliseconds = 5_000


class LogSection(Section, frozen=True):
    """What goes to stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"


class NodeConfig(Section, frozen=True):
    """All settings of one node."""

    node: NodeSection = NodeSection()
    p2p: P2PSection = P2PSection()
    rpc: RpcSection = RpcSection()
    ops: OpsSection = OpsSection()
    consensus: ConsensusSection = ConsensusSection()
    ledger: LedgerSection = LedgerSection()
    gateway: GatewaySection = GatewaySection()
    witnesses: WitnessesSection = WitnessesSection()
    log: LogSection = LogSection()


class LoadedConfig(msgspec.Struct, frozen=True):
    """The merged settings and, for each dotted key, where its value came from."""

    config: NodeConfig
    origins: dict[str, str]


def section_types() -> dict[str, type[Section]]:
    """Every section's struct by its name, in the order of the file."""
    return {name: kind for name, kind in get_type_hints(NodeConfig).items() if isinstance(kind, type)}


def known_keys() -> dict[str, Any]:
    """Every dotted key with the type of its value; `Any` because a type form has no narrower type."""
    keys: dict[str, Any] = {}
    for section, kind in section_types().items():
        for name, hint in get_type_hints(kind, include_extras=True).items():
            keys[f"{section}.{name}"] = hint
    return keys


def load_config(
    path: Path | None, environ: Mapping[str, str] | None = None, flags: Mapping[str, str] | None = None
) -> LoadedConfig:
    """Merge flag > environment > file > default; `flags` maps dotted keys to text. Raises ConfigError."""
    keys = known_keys()
    values: dict[str, Any] = {}
    origins = dict.fromkeys(keys, "default")
    layers = [
        _from_file(path, keys) if path is not None else iter(()),
        _from_environment(environ or {}, keys),
        _from_flags(flags or {}, keys),
    ]
    for layer in layers:
        for key, value, origin in layer:
            values[key] = _convert(key, value, keys[key], origin)
            origins[key] = origin
    config = _assemble(values)
    _check_together(config, origins)
    return LoadedConfig(config=config, origins=origins)


def load_node_config(
    path: Path, environ: Mapping[str, str] | None = None, flags: Mapping[str, str] | None = None
) -> LoadedConfig:
    """Merge as `load_config` does, for a node's home: who the node is must be set. Raises ConfigError."""
    loaded = load_config(path, environ, flags)
    for key, value in (("node.name", loaded.config.node.name), ("node.member", loaded.config.node.member)):
        if not value:
            raise ConfigError(
                f"{key} is not set",
                where=str(path),
                expected="section [node] with name and member, as `chainnode init` writes it",
            )
        if NAME_PATTERN.fullmatch(value) is None:
            expected = f"to match {NAME_PATTERN.pattern}"
            raise ConfigError(f"{key} is not valid", where=loaded.origins[key], expected=expected, got=repr(value))
    return loaded


def split_address(address: str) -> tuple[str, int]:
    """Split `host:port` or `[v6]:port`; raises ConfigError where the port is not 0..65535."""
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ConfigError("not an address", expected="host:port with a port up to 65535", got=address)
    return host.removeprefix("[").removesuffix("]"), int(port)


def is_loopback(host: str) -> bool:
    """Whether a host can be reached from this machine alone (the name `localhost` counts)."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def flatten(config: NodeConfig) -> dict[str, Any]:
    """Every dotted key with its value, in the order of the file."""
    tree = msgspec.to_builtins(config)
    return {f"{section}.{key}": value for section, table in tree.items() for key, value in table.items()}


def render_toml(values: Mapping[str, Any]) -> str:
    """Write dotted keys as TOML sections: strings, integers, booleans and lists of strings only."""
    lines: list[str] = []
    section = ""
    for key, value in values.items():
        head, _, name = key.partition(".")
        if head != section:
            lines += ["", f"[{head}]"] if lines else [f"[{head}]"]
            section = head
        lines.append(f"{name} = {_toml_value(value)}")
    return "\n".join(lines) + "\n"


def _toml_value(value: object) -> str:
    # A JSON string, number, boolean or list of strings is also valid TOML.
    return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")


def _from_file(path: Path, keys: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    text = _read_text(path)
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError("not TOML", where=str(path), got=str(error)) from None
    for section, table in tree.items():
        if section not in section_types():
            raise _unknown(section, _where(path, text, section), [*section_types(), *keys])
        if not isinstance(table, dict):
            raise ConfigError(
                f"{section} is a section",
                where=_where(path, text, section),
                expected=f"[{section}]",
                got=f"{section} = …",
            )
        for name, value in table.items():
            key = f"{section}.{name}"
            where = _where(path, text, key)
            if key not in keys:
                raise _unknown(key, where, keys)
            yield key, value, where


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError("configuration cannot be read", where=str(path), got=error.strerror or str(error)) from None
    if len(data) > CONFIG_SIZE_BYTES_MAX:
        raise ConfigError(
            "configuration too large",
            where=str(path),
            expected=f"at most {CONFIG_SIZE_BYTES_MAX} bytes",
            got=str(len(data)),
        )
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ConfigError("configuration is not UTF-8", where=f"{path}, byte {error.start}") from None


def _where(path: Path, text: str, key: str) -> str:
    """`file:line` of a key: tomllib keeps no positions, so the text is searched in the ways people write a key."""
    section, _, name = key.partition(".")
    current = ""
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[\s*([^\]]+?)\s*\]", line)
        if header:
            current = header[1].strip("\"'")
            if not name and current == section:
                return f"{path}:{number}"
            continue
        written = re.match(r"""\s*["']?([A-Za-z0-9_.\-]+)["']?\s*=""", line)
        if written and ((current == section and written[1] == name) or (not current and written[1] in (key, section))):
            return f"{path}:{number}"
    return str(path)


def _from_environment(environ: Mapping[str, str], keys: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    for variable in sorted(environ):
        # Without a double underscore it is somebody else's (CHAINNODE_HOME, CHAINNODE_VECTORS).
        if not variable.startswith(ENVIRONMENT_PREFIX) or "__" not in variable:
            continue
        key = variable.removeprefix(ENVIRONMENT_PREFIX).lower().replace("__", ".", 1)
        origin = f"environment {variable}"
        if key not in keys:
            raise _unknown(key, origin, keys)
        yield key, _from_text(key, environ[variable], keys[key], origin), origin


def _from_flags(flags: Mapping[str, str], keys: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    for key, text in flags.items():
        origin = f"flag {key}"
        if key not in keys:
            raise _unknown(key, "flag", keys)
        yield key, _from_text(key, text, keys[key], origin), origin


def _from_text(key: str, text: str, kind: Any, origin: str) -> Any:
    """A setting given as text: lists are separated by commas, the rest is read as its type says."""
    if str(kind).startswith("list"):
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        return msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _invalid(key, text, origin, error) from None


def _convert(key: str, value: Any, kind: Any, origin: str) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise _invalid(key, value, origin, error) from None


def _invalid(key: str, value: object, origin: str, error: msgspec.ValidationError) -> ConfigError:
    expected = str(error).removeprefix("Expected ").split(", got")[0].split(" - at")[0].replace("`", "")
    if "matching regex" in expected:
        expected = {
            "p2p.peers": "name@host:port",
            "witnesses.ask": "VKEY URL",
            "rpc.requests_per_second_of_roles": "ROLE=NUMBER",
        }.get(key, "host:port")
    return ConfigError(f"{key} is not valid", where=origin, expected=expected, got=repr(value))


def _unknown(key: str, where: str, known: Mapping[str, Any] | list[str]) -> ConfigError:
    nearest = difflib.get_close_matches(key, list(known), n=1, cutoff=0.4)
    hint = f"did you mean {nearest[0]}?" if nearest else "`chainnode config show` lists the keys"
    return ConfigError(f"unknown key {key}", where=where, hint=hint)


def _assemble(values: Mapping[str, Any]) -> NodeConfig:
    tables: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        section, _, name = key.partition(".")
        tables.setdefault(section, {})[name] = value
    return msgspec.convert(tables, NodeConfig)


def _check_tls(name: str, section: RpcSection | OpsSection, origins: Mapping[str, str]) -> None:
    """Raise `ConfigError` for half of a TLS certificate, and for none off loopback."""
    if bool(section.tls_certificate_file) != bool(section.tls_key_file):
        raise ConfigError(
            f"{name}.tls_certificate_file and {name}.tls_key_file go together", where=origins[f"{name}.tls_key_file"]
        )
    if not is_loopback(split_address(section.listen)[0]) and not section.tls_certificate_file:
        raise ConfigError(
            f"{name}.listen is not on loopback and has no TLS",
            where=origins[f"{name}.listen"],
            expected=f"{name}.tls_certificate_file and {name}.tls_key_file, or a loopback address",
            got=section.listen,
        )


def _check_together(config: NodeConfig, origins: Mapping[str, str]) -> None:
    listeners = {"p2p.listen": config.p2p.listen, "rpc.listen": config.rpc.listen, "ops.listen": config.ops.listen}
    taken: dict[tuple[str, int], str] = {}
    for key, address in listeners.items():
        try:
            host_port = split_address(address)
        except ConfigError:
            raise ConfigError(
                f"{key} is not valid", where=origins[key], expected="a port up to 65535", got=address
            ) from None
        if host_port[1] and host_port in taken:
            raise ConfigError(f"{key} and {taken[host_port]} are the same address", where=origins[key], got=address)
        taken[host_port] = key
    rpc = config.rpc
    _check_tls("rpc", rpc, origins)
    _check_tls("ops", config.ops, origins)
    if rpc.client_certificates != "none" and not rpc.tls_certificate_file:
        raise ConfigError(
            "rpc.client_certificates needs TLS",
            where=origins["rpc.client_certificates"],
            expected="rpc.tls_certificate_file and rpc.tls_key_file",
            got=rpc.client_certificates,
        )
    from ledger.archive_store import BODIES_KEPT_BLOCKS_MIN

    keep_blocks = config.ledger.keep_bodies_blocks
    if 0 < keep_blocks < BODIES_KEPT_BLOCKS_MIN:
        raise ConfigError(
            "ledger.keep_bodies_blocks is below the floor",
            where=origins["ledger.keep_bodies_blocks"],
            expected=f"at least {BODIES_KEPT_BLOCKS_MIN}, or 0 to move nothing by itself",
            got=str(keep_blocks),
        )
    _check_witnesses(config.witnesses, origins["witnesses.ask"])
    if config.consensus.view_timeout_ms > config.consensus.view_timeout_ms_max:
        raise ConfigError(
            "consensus.view_timeout_ms is above consensus.view_timeout_ms_max",
            where=origins["consensus.view_timeout_ms"],
            expected=f"at most {config.consensus.view_timeout_ms_max}",
            got=str(config.consensus.view_timeout_ms),
        )


def _check_witnesses(witnesses: WitnessesSection, origin: str) -> None:
    names: set[str] = set()
    for entry in witnesses.ask:
        try:
            key = parse_vkey(entry.partition(" ")[0])
        except ProofError as error:
            raise ConfigError("witnesses.ask is not valid", where=origin, got=str(error)) from None
        if key.type != COSIGNATURE_V1 or key.name in names:
            raise ConfigError(
                "witnesses.ask is not valid", where=origin, expected="a cosigner's key for each, once", got=key.name
            )
        names.add(key.name)
