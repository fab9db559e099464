"""`witness`: a small service for whoever runs no node and still holds the consortium to one history."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from chainnode.cli.context import settings
from chainnode.cli.main import Group
from chainnode.cli.output import say, show, show_rows
from primitives.errors import InputError, StorageError, UsageError

if TYPE_CHECKING:
    from ssl import SSLContext

LISTEN = "127.0.0.1:7390"
"""Below the ports of a localnet, which begins at 7400."""
PEM_BYTES_MAX = 1 << 20
directory_argument = click.argument("directory", type=click.Path(path_type=Path))


@click.group(cls=Group)
def witness() -> None:
    """Cosign a log's checkpoints, each consistent with the one before (C2SP tlog-witness)."""


@witness.command()
@directory_argument
@click.option("--name", required=True, help="The witness's key name, such as regulator.example/witness.")
def init(directory: Path, name: str) -> None:
    """Make a witness in DIRECTORY: its key, and the verifier key that nodes and policies name it by."""
    from chainnode.witness import make_witness

    key = make_witness(directory, name)
    say(f"witness made in {directory}; tell it of a log with `chainnode witness add-log`")
    show({"directory": str(directory), "name": key.name, "vkey": key.vkey()})


@witness.command("add-log")
@directory_argument
@click.option("--policy", "policy_file", type=click.Path(path_type=Path), help="The policy of the log's consortium.")
@click.option("--vkey", "vkeys", multiple=True, help="Without a policy: a key of the log, repeatable.")
@click.option(
    "--require-quorum/--no-require-quorum",
    default=True,
    show_default=True,
    help="Cosign only what the policy's quorum has cosigned.",
)
def add_log(directory: Path, policy_file: Path | None, vkeys: tuple[str, ...], require_quorum: bool) -> None:
    """Let the witness in DIRECTORY cosign a log, or give a known one a newer policy (after a change of validators).

    A witness that runs takes it up at once.
    """
    from chainnode.cli.proofs import file_text, refused
    from chainnode.witness import add_log as tell
    from chainnode.witness import origin_hash, without_quorum

    if (policy_file is None) == (not vkeys):
        raise UsageError("which log?", expected="--policy FILE, or --vkey KEY (repeatable)")
    if policy_file is not None:
        name, text = str(policy_file), file_text(policy_file)
    else:
        name, text = "--vkey", "".join(f"log {vkey}\n" for vkey in vkeys) + "quorum none\n"
    try:
        text = text if require_quorum else without_quorum(text)
        origin = tell(directory, text)
    except InputError as error:
        raise refused(name, error, "get the policy or key again from somebody whom you trust") from None
    say(f"checkpoints of {origin} are cosigned from now on")
    show({"origin": origin, "hash": origin_hash(origin), "quorum": require_quorum and policy_file is not None})


@witness.command("list")
@directory_argument
def list_logs(directory: Path) -> None:
    """List the logs of the witness in DIRECTORY and what it cosigned last."""
    import time

    from chainnode.witness import Witness
    from ledger.times import format_time

    found = Witness(directory, lambda: int(time.time())).open_all()
    rows = []
    for log in found:
        latest = log.latest
        rows.append(
            {
                "origin": log.origin,
                "size": 0 if latest is None else latest.checkpoint.size,
                "root": None if latest is None else latest.checkpoint.root.hex(),
                "cosigned": None if latest is None else format_time(latest.time_s * 1_000),
                "quorum": log.policy.quorum,
                "forks": sum(1 for _ in (log.directory / "forks").glob("*")),
                "unproven": sum(1 for _ in (log.directory / "unproven").glob("*")),
            }
        )
    show_rows(rows, columns=("origin", "size", "cosigned", "forks", "unproven"), wrap="logs")


@witness.command()
@directory_argument
@click.option("--listen", default=LISTEN, show_default=True, metavar="HOST:PORT", help="Where logs and monitors ask.")
@click.option("--tls-certificate", type=click.Path(path_type=Path), help="Certificate chain of the listener, PEM.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="Its key, PEM.")
def serve(directory: Path, listen: str, tls_certificate: Path | None, tls_key: Path | None) -> None:
    """Serve the witness in DIRECTORY. Anywhere but on loopback it needs TLS, its own or that of a proxy before it."""
    import asyncio
    import time

    from chainnode.config import is_loopback, split_address
    from chainnode.logs import Position, configure_logs
    from chainnode.witness import Witness, hold
    from chainnode.witness_server import WitnessSettings
    from chainnode.witness_server import serve as run

    host, port = split_address(listen)
    if (tls_certificate is None) != (tls_key is None):
        raise UsageError("half of TLS", expected="--tls-certificate and --tls-key together")
    if tls_certificate is None and not is_loopback(host):
        raise UsageError(
            "a witness off loopback without TLS",
            expected="--tls-certificate and --tls-key, or a loopback address behind a proxy",
            got=listen,
        )
    context: SSLContext | None = None
    if tls_certificate is not None:
        assert tls_key is not None, "half of TLS is refused above"
        context = _tls(tls_certificate, tls_key)
    configure_logs(Position("witness"), level="debug" if settings().verbose else "info")
    with hold(directory):
        found = Witness(directory, lambda: int(time.time()))
        found.open_all()
        asyncio.run(run(WitnessSettings(host, port, context), found))


def _tls(certificate: Path, key: Path) -> SSLContext:
    """Return the listener's TLS; an error names the file, as Python's own do not."""
    import ssl

    from chainnode.files import read_file

    for path in (certificate, key):
        read_file(path, size_max=PEM_BYTES_MAX)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:
        raise StorageError(
            "not a certificate and its key",
            where=str(certificate),
            expected=f"PEM, with the key in {key.name}",
            got=error.strerror or error,
        ) from None
    return context
