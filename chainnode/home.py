"""A node's home: where each file lies, making one, and holding it against a second process.

Here: paths and the rules about the directory as a whole. Not here: what the files mean (`config`, `identity`, `wal`,
the ledger's store). Layout: docs/operating.md, "A node's home".
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from chainnode.files import Busy, NotFound, locked, make_private_directory
from primitives.errors import UsageError

HOME_VARIABLE = "CHAINNODE_HOME"


class HomeInUse(Busy):
    """Another process runs on this home."""

    reason = "home_in_use"


class HomeExists(UsageError):
    """The directory is a node's home already, or holds something else."""

    reason = "home_exists"


class Home:
    """The paths of one node's home; reading them touches no file."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().absolute()

    def __repr__(self) -> str:
        return f"Home({str(self.root)!r})"

    @property
    def config(self) -> Path:
        """Settings, TOML."""
        return self.root / "config" / "node.toml"

    @property
    def genesis(self) -> Path:
        """The chain's genesis, JSON."""
        return self.root / "config" / "genesis.json"

    @property
    def keys(self) -> Path:
        """Directory of secrets, 0700."""
        return self.root / "keys"

    @property
    def data(self) -> Path:
        """Directory of what the node writes."""
        return self.root / "data"

    @property
    def vote_key(self) -> Path:
        """Key that signs consensus votes; absent on observers."""
        return self.keys / "vote.key"

    @property
    def cosign_key(self) -> Path:
        """Key that cosigns checkpoints; absent on observers."""
        return self.keys / "cosign.key"

    @property
    def log_key(self) -> Path:
        """Key that signs checkpoints as the serving log."""
        return self.keys / "log.key"

    @property
    def source_key(self) -> Path:
        """Key of the gateway, which signs this member's batches."""
        return self.keys / "source.key"

    @property
    def tls_key(self) -> Path:
        """Key of the TLS certificate, PEM."""
        return self.keys / "tls.key"

    @property
    def tls_certificate(self) -> Path:
        """Certificate that the member's CA issued to this node, PEM."""
        return self.keys / "tls.crt"

    @property
    def ca_certificate(self) -> Path:
        """The member's own CA, PEM."""
        return self.keys / "ca.crt"

    @property
    def ca_key(self) -> Path:
        """Key of the member's CA, PEM; only in the home where the CA was made."""
        return self.keys / "ca.key"

    @property
    def entry(self) -> Path:
        """What this member brings to genesis, JSON, public."""
        return self.root / "config" / "member.json"

    @property
    def reporter(self) -> Path:
        """Secret of this member alone, from which its statements' salts are derived."""
        return self.keys / "reporter.secret"

    @property
    def token(self) -> Path:
        """Token that submitting in the member's name needs."""
        return self.keys / "token"

    @property
    def tokens(self) -> Path:
        """Tokens with roles, hashed, JSON."""
        return self.keys / "tokens.json"

    @property
    def pairs(self) -> Path:
        """Secrets shared with other banks, JSON {member: hex}."""
        return self.keys / "pairs.json"

    @property
    def cards(self) -> Path:
        """What card messages leave out: institutions, card prefixes, terminals; JSON, no secret, may be absent."""
        return self.root / "config" / "cards.json"

    @property
    def pairing(self) -> Path:
        """Directory of the secret keys by which pair secrets are agreed on."""
        return self.keys / "pairing"

    @property
    def wal(self) -> Path:
        """Write-ahead log of consensus records."""
        return self.data / "consensus.wal"

    @property
    def learner_wal(self) -> Path:
        """Stands in for a lost `wal`, whose absence must be seen at the next start too: nothing in it was signed."""
        return self.data / "learner.wal"

    @property
    def private(self) -> Path:
        """What is private of the payments that were stated here, encrypted, and its keys."""
        return self.data / "private"

    @property
    def index(self) -> Path:
        """Store of the indexes that can be rebuilt."""
        return self.data / "index.ldb"

    @property
    def watched(self) -> Path:
        """The last checkpoint that `chainnode watch` saw, JSON; public."""
        return self.data / "watched.json"

    @property
    def outbox(self) -> Path:
        """Signed batches of the gateway that are not committed yet."""
        return self.data / "outbox"

    @property
    def snapshots(self) -> Path:
        """Directory of the newest snapshot that this node was asked to make."""
        return self.data / "snapshots"

    @property
    def audit_log(self) -> Path:
        """Who did what through this node, JSON lines; older ones beside it with a number."""
        return self.data / "audit.log"

    @property
    def log(self) -> Path:
        """Where localnet sends the node's stderr."""
        return self.data / "node.log"

    def resolve(self, text: str) -> Path:
        """Return a path of the settings: relative ones start at the home."""
        return self.root / Path(text).expanduser()

    def create(self) -> None:
        """Make the directories. Raises `HomeExists` where the home was initialised before or is not empty."""
        if self.config.exists() or self.genesis.exists():
            raise HomeExists(
                "home already initialised", where=str(self.root), hint="start it, or choose another --home"
            )
        if self.root.exists() and not self.root.is_dir():
            raise HomeExists("home is not a directory", where=str(self.root))
        if self.root.is_dir() and any(self.root.iterdir()):
            raise HomeExists(
                "home is not empty",
                where=str(self.root),
                expected="a new or empty directory",
                hint="choose another --home",
            )
        make_private_directory(self.root)
        for directory in (self.config.parent, self.keys, self.data):
            make_private_directory(directory)

    def check(self) -> None:
        """Raise `NotFound` where there is no initialised home, `UnsafeFile` where others can enter its keys."""
        for path in (self.config, self.genesis):
            if not path.is_file():
                raise NotFound(
                    "not a node's home",
                    where=str(self.root),
                    expected=str(path.relative_to(self.root)),
                    hint="make one with `chainnode init`, or name it with --home or $CHAINNODE_HOME",
                )
        make_private_directory(self.keys)

    def make_data(self) -> None:
        """Make `data` where it is gone, as a new disk leaves it: the node begins again from an empty store."""
        if not self.data.is_dir():
            make_private_directory(self.data)

    def lock(self) -> AbstractContextManager[None]:
        """Hold the home for this process; entering raises `HomeInUse`, naming the other process.

        The lock lies in `data`, which must be there: who is to write makes it first (`make_data`).
        """
        return locked(self.data / "lock", "home", error=HomeInUse)
