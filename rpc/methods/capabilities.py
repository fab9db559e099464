"""ledger_getCapabilities: what this node and its chain understand."""

from __future__ import annotations

from ledger.archive_store import minimum_index
from ledger.batch_headers import BATCH_EVENTS_MAX
from ledger.batches import BATCH_SIZE_MAX
from ledger.events import EVENT_SIZE_MAX
from ledger.registry import KINDS
from ledger.rules import RULES_SUPPORTED
from primitives.hashing import PROTOCOL_VERSION, SUITE
from rpc.limits import BATCH_CALLS_MAX, BODY_BYTES_MAX, READ_BODY_BYTES_MAX
from rpc.methods.heights import tip_of
from rpc.ports import Services
from rpc.registry import method
from rpc.rights import Access
from rpc.types import LIMIT_MAX, AsOf, NoParams, Result

API_VERSION = "1"


class KindResult(Result, frozen=True):
    """A kind of event: its name and number, its schemas, and the roles of which a source needs one."""

    name: str
    number: int
    schemas: list[int]
    changes_state: bool
    roles: list[str]


class LimitsResult(Result, frozen=True):
    """Limits of this API and of the format."""

    batch_calls_max: int = BATCH_CALLS_MAX
    body_bytes_max: int = BODY_BYTES_MAX
    read_body_bytes_max: int = READ_BODY_BYTES_MAX
    list_limit_max: int = LIMIT_MAX
    submit_events_max: int = BATCH_EVENTS_MAX
    event_bytes_max: int = EVENT_SIZE_MAX
    batch_bytes_max: int = BATCH_SIZE_MAX


class CapabilitiesResult(Result, frozen=True):
    """What this node understands, and the height at which the history that it holds begins (0: all of it).

    Bodies of batches up to `archived_height` are in its archive; entries of the log below `minimum_index` (C2SP
    tlog-tiles) it may not serve.
    """

    chain_id: str
    origin: str
    version: str
    api: str
    protocol: int
    rules: list[int]
    suites: list[int]
    kinds: list[KindResult]
    limits: LimitsResult
    wait_timeout_ms: int
    base_height: int
    archived_height: int
    minimum_index: int
    as_of: AsOf


@method("ledger_getCapabilities", params=NoParams, result=CapabilitiesResult, access=Access.PUBLIC)
def get_capabilities(services: Services, params: NoParams) -> CapabilitiesResult:
    """The chain, versions, suites, kinds of event and limits of this node."""
    del params
    kinds = [
        KindResult(spec.name, spec.kind, sorted(spec.schemas), spec.changes_state, sorted(spec.roles))
        for _, spec in sorted(KINDS.items())
    ]
    return CapabilitiesResult(
        chain_id=services.reads.chain_id.hex(),
        origin=services.reads.origin,
        version=services.node.version().version,
        api=API_VERSION,
        protocol=PROTOCOL_VERSION,
        rules=list(RULES_SUPPORTED),
        suites=[SUITE],
        kinds=kinds,
        limits=LimitsResult(),
        wait_timeout_ms=services.wait_timeout_ms,
        base_height=int(services.reads.base()),
        archived_height=0 if services.archive is None else services.archive.archived_height,
        minimum_index=minimum_index(services.reads, 0) if services.archive is None else services.archive.minimum_index,
        as_of=int(tip_of(services).height),
    )


METHODS = (get_capabilities,)
