"""What an operator sees of a running node: health, metrics and logs, in their forms and without secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from chainnode.identity import read_key
from tests.e2e.network_fixtures import NAMES, Json, Network, until
from tests.e2e.traffic_fixtures import Source, payment, row, statement, submit

pytestmark = pytest.mark.e2e

UNITS_NOT_BASE = ("_ms", "_milliseconds", "_kb", "_mb", "_percent", "_minutes")
FIRST_FIELDS = ["ts", "level", "event", "node", "height", "view"]
WORDS = re.compile(r"[A-Za-z0-9+/=_-]{16,}")


def test_a_node_says_that_it_is_alive_and_why_it_is_ready(net: Network) -> None:
    for name in NAMES:
        assert net.ops(name, "/livez") == (200, "ok\n")
        assert net.ops(name, "/readyz") == (200, "ready\n")
        status, text = net.ops(name, "/readyz?verbose")
        *checks, last = text.splitlines()
        assert (status, last) == (200, "ready")
        assert {line.split()[1] for line in checks} == {"not_halted", "quorum_linked", "caught_up"}
        assert all(line.startswith("[+] ") for line in checks)


def test_a_node_without_a_quorum_says_what_it_lacks(net: Network) -> None:
    net.kill("bank-c", "bank-d")
    try:
        lacking = "[-] quorum_linked 1 voters linked, 2 needed"
        until(lambda: lacking in net.ops("bank-a", "/readyz?verbose")[1].splitlines())
        assert net.ops("bank-a", "/readyz?verbose")[0] == 503
        assert net.ops("bank-a", "/livez")[0] == 200
    finally:
        net.start("bank-c", "bank-d")
    net.start()


def test_a_node_says_which_version_runs(net: Network) -> None:
    status, text = net.ops("bank-a", "/version")
    assert status == 200
    assert {"version", "protocol", "store_format", "python"} <= set(json.loads(text))


def test_metrics_parse_and_are_named_and_measured_as_they_should_be(net: Network, sources: dict[str, Source]) -> None:
    submit(net, "bank-a", sources["bank-a-bank"].payments(3))
    status, text = until(lambda: at_rest(net))
    families = list(text_string_to_metric_families(text))
    assert len(families) > 20
    samples: dict[str, float] = {}
    for family in families:
        assert family.name.startswith("chainnode_"), family.name
        assert not family.name.endswith(UNITS_NOT_BASE), family.name
        assert family.documentation.endswith("."), family.name
        for sample in family.samples:
            if family.type == "counter":
                assert sample.name.endswith("_total"), sample.name
            samples[sample.name] = samples.get(sample.name, 0.0) + sample.value
    assert samples["chainnode_height"] == status["height"]
    assert samples["chainnode_log_size"] == status["log_size"]
    assert samples["chainnode_peers"] == status["peers"] >= 3, "the validators, and observers of other tests"
    for name in ("events_committed", "blocks_committed", "batches_committed", "fsyncs", "rpc_requests"):
        assert samples[f"chainnode_{name}_total"] > 0, name


def at_rest(net: Network) -> tuple[Json, str] | None:
    """Return status and metrics of a node that is linked with all, taken while neither chain nor links changed."""
    before, text, after = net.status("bank-a"), net.ops("bank-a", "/metrics")[1], net.status("bank-a")
    same = all(before[name] == after[name] for name in ("height", "log_size", "peers"))
    return (after, text) if same and after["peers"] >= len(NAMES) - 1 else None


@pytest.fixture(scope="module")
def secrets(net: Network) -> set[str]:
    """Everything in the homes and key files that no log may hold."""
    found: set[str] = set()
    for name in NAMES:
        home = net.home(name)
        found.add(net.token(name))
        found.add(home.reporter.read_text().strip())
        found.update(json.loads(home.pairs.read_text()).values())
        found.update(read_key(path).seed for path in home.keys.glob("*.key") if path.stem not in ("tls", "ca"))
        for path in (home.tls_key, home.ca_key):
            found.update(path.read_text().splitlines()[1:-1])
    found.update(read_key(path).seed for path in net.net.keys.glob("*.key"))
    assert len(found) > 30
    return found


def test_logs_are_json_lines_with_their_fields_and_hold_neither_secrets_nor_payloads(
    net: Network, secrets: set[str], sources: dict[str, Source]
) -> None:
    body = statement()
    events = [row(body=body), {**row(), "kind": "payment.promise"}]
    refused = net.calls("bank-a", "ledger_submit", [{"events": events}])  # without a token, and with a bad kind
    assert "error" in refused[0]
    net.call("bank-a", "ledger_submit", events=events[:1])
    event = payment("bank-a")
    submit(net, "bank-a", sources["bank-a-bank"].sign([event]))
    payloads = {body.salt.hex(), event.hex(), event.hex()[40:120]}
    for name in NAMES:
        lines = list(checked_lines(net, name))
        assert lines
        text = "\n".join(lines)
        held = {word for word in secrets | payloads if word in text}
        assert not held, (name, held)
        assert "Bearer" not in text


def checked_lines(net: Network, name: str) -> Iterator[str]:
    for line in net.home(name).log.read_text().splitlines():
        record = json.loads(line)
        assert list(record)[: len(FIRST_FIELDS)] == FIRST_FIELDS, line
        assert record["level"] in ("debug", "info", "warning", "error", "critical")
        assert record["node"] == name
        assert len(line) < 2_000
        yield line
