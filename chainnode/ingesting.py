"""From a bank's file to events that may be sent: read, stated, and what is private of it kept.

Here: the way that `submit` and the drop folder go alike. Not here: formats (`chainnode.ingest`), the store
(`chainnode.private_store`), sending (`chainnode.submission`).
"""

from __future__ import annotations

from pathlib import Path

from chainnode.files import read_file
from chainnode.ingest.context import IngestContext
from chainnode.ingest.csv_mapping import MAPPING_BYTES_MAX, CsvMapping, read_mapping
from chainnode.ingest.drafts import Ingested
from chainnode.ingest.errors import NotAPartyError, TooManyError
from chainnode.ingest.formats import Options, ingest
from chainnode.payloads import Keeper
from chainnode.reporting import check_has_secrets
from chainnode.submission import NewEvent
from primitives.errors import InputError


def mapping_of(path: Path | None) -> CsvMapping | None:
    """Return what columns of CSV files mean, as a file says; None where none is named."""
    return None if path is None else read_mapping(read_file(path, size_max=MAPPING_BYTES_MAX), where=str(path))


def state(
    data: bytes,
    context: IngestContext,
    keeper: Keeper,
    *,
    where: str,
    form: str,
    options: Options,
    payments_max: int | None = None,
) -> Ingested:
    """Return the events of a file as they are to be sent; what is private of them is on the disk then.

    `where` names the file in errors. Of one with more than `payments_max` nothing is kept, since nothing is to be sent.
    Raises InputError where it is refused as a whole, UsageError without secrets.
    """
    found = ingest(data, context, where=where, format_name=form, options=options)
    if payments_max is not None and len(found.drafts) > payments_max:
        raise TooManyError(
            "too many payments for one call",
            where=where,
            expected=f"at most {payments_max}",
            got=len(found.drafts),
            hint="chainnode submit takes files of any number",
        )
    if any(draft.statement is not None for draft in found.drafts):
        check_has_secrets(context)
    kept = data if found.kept is None else found.kept
    found.drafts = keeper.keep(context.reporter.member, found.drafts, kept, found.partial)
    return found


def is_foreign(error: InputError, options: Options) -> bool:
    """Say whether a message was set aside because the reporter is no party of it, as was asked for."""
    return options.skip_foreign and isinstance(error, NotAPartyError)


def new_events(found: Ingested) -> list[NewEvent]:
    """Return the events of a file, for a door."""
    return [
        NewEvent(draft.kind, draft.schema, draft.body, draft.where, draft.reference, draft.expires_ms, draft.differs)
        for draft in found.drafts
    ]
