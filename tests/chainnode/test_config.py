"""Settings: precedence, origins, and what a bad one is told."""

import re
from pathlib import Path

import pytest

from chainnode.config import (
    ConfigError,
    NodeConfig,
    flatten,
    is_loopback,
    known_keys,
    load_config,
    render_toml,
    split_address,
)
from primitives.notes import COSIGNATURE_V1, ED25519, NoteKey

WITNESS = NoteKey("w", COSIGNATURE_V1, bytes(32)).vkey()
EXAMPLE = Path(__file__).parents[2] / "configs" / "node.toml"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "node.toml"
    path.write_text(text)
    return path


def test_defaults_listen_on_loopback_alone() -> None:
    config = load_config(None).config
    for address in (config.p2p.listen, config.rpc.listen, config.ops.listen):
        assert is_loopback(split_address(address)[0])


def test_flag_wins_over_environment_over_file_over_default(tmp_path: Path) -> None:
    path = write(tmp_path, '[rpc]\nlisten = "127.0.0.1:1001"\nconnections_max = 7\n[gateway]\nlinger_ms = 9\n')
    environ = {"CHAINNODE_RPC__LISTEN": "127.0.0.1:1002", "CHAINNODE_GATEWAY__LINGER_MS": "5", "CHAINNODE_HOME": "/x"}
    loaded = load_config(path, environ, {"rpc.listen": "127.0.0.1:1003"})
    assert loaded.config.rpc.listen == "127.0.0.1:1003"
    assert loaded.config.gateway.linger_ms == 5
    assert loaded.config.rpc.connections_max == 7
    assert loaded.config.ops.listen == "127.0.0.1:7402"
    assert loaded.origins["rpc.listen"] == "flag rpc.listen"
    assert loaded.origins["gateway.linger_ms"] == "environment CHAINNODE_GATEWAY__LINGER_MS"
    assert loaded.origins["rpc.connections_max"] == f"{path}:3"
    assert loaded.origins["ops.listen"] == "default"


def test_list_from_the_environment_is_split_at_commas() -> None:
    config = load_config(None, {"CHAINNODE_RPC__HOSTS": "a.example, b.example"}).config
    assert config.rpc.hosts == ["a.example", "b.example"]


def test_environment_of_other_programs_is_left_alone() -> None:
    environ = {"CHAINNODE_VECTORS": "x", "PATH": "y", "OTHER__KEY": "z"}
    assert load_config(None, environ).config == NodeConfig()


BAD_FILES = {
    "unknown key": (
        '[rpc]\nlissten = "127.0.0.1:1"\n',
        r"node\.toml:2: unknown key rpc\.lissten; did you mean rpc\.listen\?",
    ),
    "unknown section": ("[rcp]\nlisten = 1\n", r"node\.toml:1: unknown key rcp; did you mean rpc\?"),
    "unknown dotted key": ("rpc.listens = 1\n", r"node\.toml:1: unknown key rpc\.listens; did you mean"),
    "wrong type": (
        '[gateway]\n\nlinger_ms = "soon"\n',
        r"node\.toml:3: gateway\.linger_ms is not valid: expected int, got 'soon'",
    ),
    "a float for an integer": ("[gateway]\nlinger_ms = 1.5\n", r"expected int, got 1\.5"),
    "true for an integer": ("[gateway]\nlinger_ms = true\n", r"expected int, got True"),
    "out of range": ("[gateway]\nbatch_events_max = 1025\n", r"expected int <= 1024, got 1025"),
    "no port": ('[rpc]\nlisten = "127.0.0.1"\n', r"rpc\.listen is not valid: expected host:port, got '127\.0\.0\.1'"),
    "port too large": ('[rpc]\nlisten = "127.0.0.1:70000"\n', r"expected a port up to 65535"),
    "not a choice": ('[log]\nlevel = "loud"\n', r"log\.level is not valid"),
    "peer without a name": ('[p2p]\npeers = ["host:1"]\n', r"p2p\.peers is not valid: expected name@host:port"),
    "section written as a value": ("rpc = 1\n", r"node\.toml:1: rpc is a section"),
    "not TOML": ("[rpc\n", r"not TOML"),
    "public listener without TLS": (
        '[rpc]\nlisten = "0.0.0.0:7401"\n',
        r"rpc\.listen is not on loopback and has no TLS",
    ),
    "public metrics without TLS": (
        '[ops]\nlisten = "0.0.0.0:7402"\n',
        r"ops\.listen is not on loopback and has no TLS",
    ),
    "half of the TLS of metrics": ('[ops]\ntls_key_file = "keys/ops.key"\n', r"go together"),
    "half of TLS": ('[rpc]\ntls_key_file = "k"\n', r"go together"),
    "two listeners on one port": ('[ops]\nlisten = "127.0.0.1:7401"\n', r"ops\.listen and rpc\.listen are the same"),
    "time-out above its cap": ("[consensus]\nview_timeout_ms = 70000\n", r"above consensus\.view_timeout_ms_max"),
    "witness without a URL": (
        '[witnesses]\nask = ["w+01020304+AQ=="]\n',
        r"witnesses\.ask is not valid: expected VKEY URL",
    ),
    "witness whose key does not fit": (
        '[witnesses]\nask = ["w+01020304+AQ== http://127.0.0.1:1"]\n',
        r"witnesses\.ask is not valid: got w: a note key's type or length is unknown",
    ),
    "witness twice": (
        f'[witnesses]\nask = ["{WITNESS} http://127.0.0.1:1", "{WITNESS} http://127.0.0.1:2"]\n',
        r"witnesses\.ask is not valid: expected a cosigner's key for each, once, got w",
    ),
    "a log's key for a witness's": (
        f'[witnesses]\nask = ["{NoteKey("w", ED25519, bytes(32)).vkey()} http://127.0.0.1:1"]\n',
        r"witnesses\.ask is not valid: expected a cosigner's key",
    ),
    "empty path": ('[ledger]\npath = ""\n', r"ledger\.path is not valid"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_file_is_refused_with_its_place_and_reason(case: str, tmp_path: Path) -> None:
    text, message = BAD_FILES[case]
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, text))
    assert re.search(message, str(caught.value)), str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_environment_key_is_refused_by_name() -> None:
    with pytest.raises(
        ConfigError, match=r"environment CHAINNODE_RPC__LISTNE: unknown key rpc\.listne; did you mean rpc\.listen"
    ):
        load_config(None, {"CHAINNODE_RPC__LISTNE": "x"})


def test_unknown_flag_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"unknown key rpc\.nothing"):
        load_config(None, {}, {"rpc.nothing": "1"})


def test_text_of_the_wrong_type_is_refused_with_its_variable() -> None:
    with pytest.raises(ConfigError, match=r"CHAINNODE_GATEWAY__LINGER_MS: gateway\.linger_ms is not valid"):
        load_config(None, {"CHAINNODE_GATEWAY__LINGER_MS": "soon"})


def test_missing_binary_and_huge_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "none.toml")
    binary = tmp_path / "b.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(binary)
    huge = write(tmp_path, "#" * (256 * 1024 + 1))
    with pytest.raises(ConfigError, match="too large"):
        load_config(huge)


def test_rendered_settings_load_as_they_were(tmp_path: Path) -> None:
    values = flatten(NodeConfig()) | {"node.name": 'quo"te', "rpc.hosts": ["a", "b"]}
    loaded = load_config(write(tmp_path, render_toml(values)))
    assert flatten(loaded.config) == values


def test_example_file_shows_every_key_with_its_default(tmp_path: Path) -> None:
    uncommented = re.sub(r"(?m)^# ([a-z_]+ = )", r"\1", EXAMPLE.read_text())
    loaded = load_config(write(tmp_path, uncommented))
    assert loaded.config == NodeConfig()
    assert [key for key in known_keys() if loaded.origins[key] == "default"] == []
    assert load_config(EXAMPLE).config == NodeConfig()


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("node.example", False),
    ],
)
def test_loopback_is_known_by_address_not_by_name(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
