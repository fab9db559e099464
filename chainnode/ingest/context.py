"""Who reports, and with which secrets: what an adapter needs besides the file.

Here: the frozen context. Not here: where it comes from (the chain's member records name each member's institutions;
the secrets are files of the node's home), agreeing on pair secrets, or keeping them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from chainnode.ingest.card_network import NO_CARD_NETWORK, CardNetwork
from chainnode.ingest.parsed import Agent
from chainnode.ingest.privacy import EventKeyOf, check_secret
from chainnode.ingest.references import agent_code, head_office, same_code
from ledger.payments import Channel
from primitives.ids import TimeMs


@dataclass(frozen=True, slots=True)
class Reporter:
    """The member that submits, the codes of its own institutions, and whether it is a switch."""

    member: str
    codes: frozenset[str]
    is_switch: bool = False

    def is_agent(self, agent: Agent | None) -> bool:
        """Return whether `agent` is one of the reporter's institutions, or a branch of one."""
        return agent is not None and (same_code(agent.code) in self.codes or head_office(agent.code) in self.codes)


Agreed = Callable[[str, int], bytes | None]


@dataclass(frozen=True, slots=True)
class Secrets:
    """The reporter's own secret, and one for each member that it shares one with; 32 bytes each, never printed.

    `agreed` gives the secret that was agreed on with a member for a day (YYYYMMDD, UTC) by keys on the chain, or None;
    `pairs` are those that were handed over by hand, and stand in where nothing was agreed on. `event_key_of` draws and
    finds again the key of each event (`chainnode.payloads`); without it keys are derived from the reporter's secret.
    """

    reporter: bytes = field(repr=False)
    pairs: Mapping[str, bytes] = field(repr=False)
    agreed: Agreed | None = field(default=None, repr=False)
    event_key_of: EventKeyOf | None = field(default=None, repr=False)

    def with_member(self, member: str, day: int) -> bytes | None:
        """Return the secret shared with a member on a day (YYYYMMDD, UTC), or None."""
        agreed = self.agreed(member, day) if self.agreed is not None else None
        return agreed if agreed is not None else self.pairs.get(member)


@dataclass(frozen=True, slots=True)
class IngestContext:
    """What turns a bank's message into its statement.

    `directory` gives the member behind an institution's code. `clear_amounts` puts amounts on the chain in clear
    instead of a commitment. `channel` goes before what a message says. Times without an offset are taken at
    `utc_offset_minutes`. Card messages leave out the year and much else: it follows from `received_ms`, when they came
    in, and from `card_network`.
    """

    reporter: Reporter
    secrets: Secrets
    directory: Mapping[str, str]
    clear_amounts: bool = False
    channel: Channel | None = None
    utc_offset_minutes: int = 0
    card_network: CardNetwork = NO_CARD_NETWORK
    received_ms: TimeMs | None = None

    def member_of(self, agent: Agent) -> str | None:
        """Return the member that an institution belongs to, or None for one outside of the consortium."""
        return self.directory.get(same_code(agent.code)) or self.directory.get(head_office(agent.code))

    def who_could(self, agents: Iterable[Agent | None]) -> str:
        """Return what to do with a payment of these institutions of which the reporter is no party."""
        members = {member for agent in agents if agent is not None and (member := self.member_of(agent))}
        if not members - {self.reporter.member}:
            return "no bank that took part is a member here, so far as the message says"
        return f"submit it at the node of {' or '.join(sorted(members - {self.reporter.member}))}"

    def pair_secret_with(self, agent: Agent, day: int) -> bytes | None:
        """Return the secret shared with the member behind `agent` on a day (YYYYMMDD, UTC), or None.

        The day is the message's own, which both sides see, so that both take the same secret.
        """
        member = self.member_of(agent)
        if member is None:
            return None
        return self.secrets.with_member(member, day)


def make_context(
    member: str,
    codes: Mapping[str, str],
    reporter_secret: bytes,
    pair_secrets: Mapping[str, bytes],
    *,
    is_switch: bool = False,
    clear_amounts: bool = False,
    channel: Channel | None = None,
    utc_offset_minutes: int = 0,
    card_network: CardNetwork = NO_CARD_NETWORK,
    received_ms: TimeMs | None = None,
    agreed: Agreed | None = None,
    event_key_of: EventKeyOf | None = None,
) -> IngestContext:
    """Return the context of `member`; `codes` gives the member behind each known institution, its own included."""
    directory = {same_code(agent_code(code, where="directory")[1]): owner for code, owner in codes.items()}
    check_secret(reporter_secret, "reporter secret")
    for other, secret in pair_secrets.items():
        check_secret(secret, f"pair secret with {other}")
    own = frozenset(code for code, owner in directory.items() if owner == member)
    return IngestContext(
        reporter=Reporter(member, own, is_switch),
        secrets=Secrets(reporter_secret, MappingProxyType(dict(pair_secrets)), agreed, event_key_of),
        directory=MappingProxyType(directory),
        clear_amounts=clear_amounts,
        channel=channel,
        utc_offset_minutes=utc_offset_minutes,
        card_network=card_network,
        received_ms=received_ms,
    )
