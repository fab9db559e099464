"""What stands between the nodes of one run: a proxy in every link's path, or a network namespace for each node.

Here: which address each node listens on and dials, the proxy's process, and which of its routes a node's links take.
Not here: what the proxy does to a stream (`proxy`), making namespaces (`namespaces`), when it is done (`perturb`).
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from chainnode.localnet import HOST, LocalNode
from torment.manifest import Links
from torment.namespaces import Cables, CannotDo
from torment.proxy import Fate, Route

PROXY_END_S: Final = 5.0
ANYBODY: Final = "*"


class Wires:
    """Laid by `__init__`, gone after `close`."""

    def __init__(
        self, file: Path, links: Links, nodes: Sequence[LocalNode], *, joiners: Sequence[str], link_ports: int
    ) -> None:
        """`file` takes the proxy's routes; the ports from `link_ports` on are free for one of each pair of nodes."""
        self._nodes = {node.name: node for node in nodes}
        self._joiners = frozenset(joiners)
        self._link_ports = link_ports
        self._cables = Cables(list(self._nodes)) if links is Links.NAMESPACES else None
        self._pairs = self._routes_of_pairs()
        self._proxy = _Proxy(file, list(self._pairs.values()) if self._cables is None else self._doors(self._cables))

    def _address(self, name: str) -> tuple[str, int]:
        port = int(self._nodes[name].p2p.rpartition(":")[2])
        return (HOST if self._cables is None else self._cables.host(name), port)

    def _routes_of_pairs(self) -> dict[tuple[str, str], Route]:
        """Return a route for each ordered pair of nodes, the one that dials first.

        All dial a joiner by one route: settings cannot name a node that the chain does not know, so they get its
        address from the chain, which knows one.
        """
        founders = [name for name in self._nodes if name not in self._joiners]
        pairs = [(one, other) for one in self._nodes for other in founders if one != other]
        pairs += [(ANYBODY, joiner) for joiner in self._nodes if joiner in self._joiners]
        return {
            (one, other): Route(f"{one}>{other}", (HOST, self._link_ports + place), self._address(other))
            for place, (one, other) in enumerate(pairs)
        }

    def _doors(self, cables: Cables) -> list[Route]:
        """Return, where nodes have namespaces, a way in to what each serves on a loopback of its own."""
        doors = []
        for name, node in self._nodes.items():
            for address in (node.rpc, node.ops):
                at = (HOST, int(address.rpartition(":")[2]))
                doors.append(Route(f"{name}:{at[1]}", at, at, cables.path(name)))
        return doors

    def listen(self, name: str) -> str:
        """Return the `host:port` on which a node takes links."""
        host, port = self._address(name)
        return f"{host}:{port}"

    def public_address(self, name: str) -> str:
        """Return the `host:port` that the chain is told of a joiner."""
        if self._cables is not None:
            return self.listen(name)
        host, port = self._pairs[ANYBODY, name].listen
        return f"{host}:{port}"

    def peers_of(self, name: str) -> list[str]:
        """Return `name@host:port` of each other founder, as this node must dial it."""
        others = [other for other in self._nodes if other != name and other not in self._joiners]
        at = {other: self._address(other) if self._cables else self._pairs[name, other].listen for other in others}
        return [f"{other}@{host}:{port}" for other, (host, port) in at.items()]

    def before(self, name: str) -> list[str]:
        """Return the command that a node's own is put behind, so that it runs where its wires end."""
        return [] if self._cables is None else ["nsenter", f"--net={self._cables.path(name)}"]

    def routes_of(self, name: str) -> tuple[list[str], list[str]]:
        """Return the routes that a node dials and those on which others dial it.

        The one to a joiner is among what every node dials: nobody who is cut off gets through to it.
        """
        dialling = [route.name for (_, other), route in self._pairs.items() if other == name]
        dialled = [route.name for (one, _), route in self._pairs.items() if one in (name, ANYBODY)]
        return [route for route in dialled if route not in dialling], dialling

    def set_fate(self, fate: Fate) -> None:
        """Let routes of the proxy fare differently from now on."""
        self._proxy.set(fate)

    @property
    def cables(self) -> Cables:
        """The namespaces' cables. Raises `CannotDo` in a run that has none."""
        if self._cables is None:
            raise CannotDo("this run has no namespaces", expected="links: namespaces")
        return self._cables

    def close(self) -> None:
        """End the proxy, and take namespaces away."""
        self._proxy.close()
        if self._cables is not None:
            self._cables.close()


class _Proxy:
    """The proxy's process."""

    def __init__(self, path: Path, routes: list[Route]) -> None:
        path.write_bytes(msgspec.json.encode(routes))
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "torment.proxy", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[1],
        )
        self._expect(b"ready\n")

    def set(self, fate: Fate) -> None:
        assert self._process.stdin is not None
        with self._lock:
            self._process.stdin.write(msgspec.json.encode(fate) + b"\n")
            self._process.stdin.flush()
            self._expect(b"ok\n")

    def _expect(self, word: bytes) -> None:
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        assert said == word, f"the proxy said {said!r}"

    def close(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(PROXY_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
