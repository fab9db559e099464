"""From a parsed payment to the statement that goes on the chain: who says it, from which side, and what stays private.

Pure: the same payment, context and secrets give the same bytes. Source: domain §4.

The pair of a statement is the message's own hop: the two institutions between which it travelled. An intermediary
reports what it received and what it sent, each in its own pair; the UETR links the hops.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from chainnode.ingest.context import IngestContext, Reporter
from chainnode.ingest.errors import NotAPartyError
from chainnode.ingest.parsed import Agent, Direction, ParsedPayment
from chainnode.ingest.privacy import (
    EventSecrets,
    FieldTree,
    PaymentKeys,
    PrivateField,
    commit_fields,
    event_secrets,
    payment_keys,
    token,
)
from ledger.payments import (
    AgentRecord,
    AgentRole,
    PaymentStatement,
    Side,
    Status,
    TokenField,
    TokenRecord,
    check_statement,
    date_text,
    uetr_text,
)
from ledger.times import day_of

NOT_PROVIDED = "NOTPROVIDED"  # what ISO 20022 puts for an end-to-end reference that the customer did not give

_PASSING = frozenset(
    {
        AgentRole.INSTRUCTING_AGENT,
        AgentRole.INSTRUCTED_AGENT,
        AgentRole.INTERMEDIARY_1,
        AgentRole.INTERMEDIARY_2,
        AgentRole.INTERMEDIARY_3,
    }
)


@dataclass(frozen=True, slots=True)
class StatementDraft:
    """A statement, its event's reference, and what the reporter keeps: the event key and the private values."""

    body: PaymentStatement
    secrets: EventSecrets
    values: dict[PrivateField, bytes] = field(repr=False)

    @property
    def reference(self) -> bytes:
        """Return the 16 bytes by which the event is known again."""
        return self.secrets.reference


def statement_for(payment: ParsedPayment, context: IngestContext) -> StatementDraft:
    """Return the reporter's statement about a payment.

    Raises NotAPartyError where the reporter has no part in it, InputError where the fields do not fit together.
    """
    reporter = context.reporter
    try:
        side = side_of(payment, reporter)
    except NotAPartyError as error:
        hint = context.who_could((*payment.agents, payment.sender, payment.receiver))
        raise NotAPartyError(error.what, where=error.where, expected=error.expected, got=error.got, hint=hint) from None
    secrets = event_secrets(
        context.secrets.reporter, payment.key or payment.message_digest, payment.index, context.secrets.event_key_of
    )
    values = private_values(payment)
    tree = commit_fields(secrets.event_key, values)
    keys = _pair_keys(payment, context)
    body = PaymentStatement(
        salt=secrets.salt,
        side=side,
        message_type=payment.message_type,
        status=payment.status or _status_by_hop(payment, reporter, side),
        reason=payment.reason,
        amount=payment.amount.minor if payment.amount and context.clear_amounts else None,
        currency=payment.amount.currency if payment.amount else "",
        amount_commitment=_amount_commitment(payment, context, tree),
        settlement_date=payment.settlement_date,
        agents=[AgentRecord(agent.role, agent.scheme, agent.code) for agent in _agents_stated(payment)],
        channel=context.channel if context.channel is not None else payment.channel,
        uetr=payment.uetr,
        reference_commitment=tree.commitments[PrivateField.REFERENCE],
        pair_key=keys.pair_key if keys else b"",
        tokens=_tokens(payment, keys) if keys else [],
        fields_root=tree.root,
        terminal_certificate=payment.terminal_certificate,
        source_digest=tree.commitments[PrivateField.SOURCE],
        time_ms=payment.created_ms,
    )
    check_statement(body)
    return StatementDraft(body, secrets, values)


def side_of(payment: ParsedPayment, reporter: Reporter) -> Side:
    """Return where the reporter stands in a payment; NotAPartyError where it stands nowhere.

    A message may leave out who holds the customers' accounts; then the ends of its own hop stand for them. In a
    status report the hop runs backwards, and in an account report the booking tells the side.
    """
    if payment.side is not None:
        return payment.side
    if reporter.is_agent(payment.agent(AgentRole.DEBTOR_AGENT)):
        return Side.DEBTOR
    if reporter.is_agent(payment.agent(AgentRole.CREDITOR_AGENT)):
        return Side.CREDITOR
    passing = Side.SWITCH if reporter.is_switch else Side.INTERMEDIARY
    for agent, fallback_role, side in _hop_sides(payment):
        if reporter.is_agent(agent):
            return side if payment.agent(fallback_role) is None and not reporter.is_switch else passing
    if any(reporter.is_agent(agent) for agent in payment.agents if agent.role in _PASSING):
        return passing
    raise NotAPartyError(
        "the reporter is no party of the payment",
        where=payment.where,
        expected=f"one of {', '.join(sorted(_codes_of(payment))) or 'no agents at all'}",
        got=f"{reporter.member} ({', '.join(sorted(reporter.codes)) or 'no codes'})",
    )


def _hop_sides(payment: ParsedPayment) -> tuple[tuple[Agent | None, AgentRole, Side], ...]:
    """Return both ends of the hop, the role that each stands for where nobody has it, and the side that follows."""
    first, second = _hop(payment)
    if payment.direction is not Direction.NONE:
        booked = Side.CREDITOR if payment.direction is Direction.CREDIT else Side.DEBTOR
        role = AgentRole.CREDITOR_AGENT if booked is Side.CREDITOR else AgentRole.DEBTOR_AGENT
        return ((first, role, booked), (second, role, booked))
    if payment.message_type.startswith("pacs.002"):
        first, second = second, first
    return ((first, AgentRole.DEBTOR_AGENT, Side.DEBTOR), (second, AgentRole.CREDITOR_AGENT, Side.CREDITOR))


def _hop(payment: ParsedPayment) -> tuple[Agent | None, Agent | None]:
    """Return from whom and to whom the message itself went."""
    instructing, instructed = payment.agent(AgentRole.INSTRUCTING_AGENT), payment.agent(AgentRole.INSTRUCTED_AGENT)
    if instructing is None and instructed is None:
        return payment.sender, payment.receiver
    return instructing, instructed


def _agents_stated(payment: ParsedPayment) -> Sequence[Agent]:
    """Return the institutions of a payment by role, and the ends of its hop where its header alone names these.

    Without them the chain would not say between whom the message went. An account report went between a bank and its
    customer's, which are no ends of a hop of the payment.
    """
    ends = payment.sender, payment.receiver
    named = any(agent.role in (AgentRole.INSTRUCTING_AGENT, AgentRole.INSTRUCTED_AGENT) for agent in payment.agents)
    if named or not payment.message_type.startswith("pacs."):
        return payment.agents
    return sorted([*payment.agents, *filter(None, ends)], key=lambda agent: agent.role)


def _codes_of(payment: ParsedPayment) -> set[str]:
    ends = [agent for agent in (payment.sender, payment.receiver) if agent is not None]
    return {agent.code for agent in (*payment.agents, *ends)}


def counterparty(payment: ParsedPayment, reporter: Reporter) -> Agent | None:
    """Return the institution at the other end of the reporter's hop, or None where the message does not tell."""
    ends = [
        _hop(payment),
        (payment.agent(AgentRole.DEBTOR_AGENT), payment.agent(AgentRole.CREDITOR_AGENT)),
        (payment.agent(AgentRole.DEBTOR_AGENT), payment.agent(AgentRole.ACQUIRER)),
        (payment.agent(AgentRole.ISSUER), payment.agent(AgentRole.ACQUIRER)),
    ]
    for left, right in ends:
        for own, other in ((left, right), (right, left)):
            if reporter.is_agent(own) and other is not None and not reporter.is_agent(other):
                return other
    if payment.side in (Side.SWITCH, Side.INTERMEDIARY):  # it says so itself: the payer's bank instructed it
        return payment.agent(AgentRole.DEBTOR_AGENT)
    return None


def pairing_reference(payment: ParsedPayment) -> str:
    """Return the reference that both ends of a hop know the payment by; empty where there is none.

    It is the end-to-end reference, or where the customer gave none the UETR, or the transaction's id.
    """
    if payment.end_to_end_id and payment.end_to_end_id != NOT_PROVIDED:
        return payment.end_to_end_id
    return uetr_text(payment.uetr) if payment.uetr else payment.transaction_id


def private_values(payment: ParsedPayment) -> dict[PrivateField, bytes]:
    """Return what is committed to, by field; fields that the message does not carry are left out."""
    texts = {
        PrivateField.AMOUNT: payment.amount.text() if payment.amount else "",
        PrivateField.REFERENCE: payment.end_to_end_id,
        PrivateField.DEBTOR_NAME: payment.debtor.name,
        PrivateField.DEBTOR_ACCOUNT: payment.debtor.account,
        PrivateField.CREDITOR_NAME: payment.creditor.name,
        PrivateField.CREDITOR_ACCOUNT: payment.creditor.account,
        PrivateField.REMITTANCE: payment.remittance,
        PrivateField.INSTRUCTED_AMOUNT: payment.instructed_amount.text() if payment.instructed_amount else "",
        PrivateField.TRANSACTION_ID: payment.transaction_id,
        PrivateField.MESSAGE_ID: payment.message_id,
        PrivateField.SETTLEMENT_DATE: date_text(payment.settlement_date) if payment.settlement_date else "",
    }
    values = {private: text.encode() for private, text in texts.items() if text}
    values[PrivateField.SOURCE] = bytes(payment.message_digest)
    return values


def _amount_commitment(payment: ParsedPayment, context: IngestContext, tree: FieldTree) -> bytes:
    if payment.amount is None or context.clear_amounts:
        return b""
    return tree.commitments[PrivateField.AMOUNT]


def _status_by_hop(payment: ParsedPayment, reporter: Reporter, side: Side) -> Status:
    """Return what an instruction means to its reporter: who sent it has accepted it, who got it has received it."""
    instructing, instructed = _hop(payment)
    if reporter.is_agent(instructing):
        return Status.ACCEPTED
    if reporter.is_agent(instructed) or side is Side.CREDITOR:
        return Status.RECEIVED
    return Status.ACCEPTED


def _pair_keys(payment: ParsedPayment, context: IngestContext) -> PaymentKeys | None:
    other, reference = counterparty(payment, context.reporter), pairing_reference(payment)
    secret = context.pair_secret_with(other, day_of(payment.created_ms)) if other is not None else None
    return payment_keys(secret, reference) if secret is not None and reference else None


def _tokens(payment: ParsedPayment, keys: PaymentKeys) -> list[TokenRecord]:
    """Return a token for each compared field that the message carries, ascending by field."""
    values = {
        TokenField.AMOUNT: payment.amount.text() if payment.amount else "",
        TokenField.SETTLEMENT_DATE: date_text(payment.settlement_date) if payment.settlement_date else "",
        TokenField.INSTRUCTED_AMOUNT: payment.instructed_amount.text() if payment.instructed_amount else "",
        TokenField.DEBTOR_ACCOUNT: payment.debtor.account,
        TokenField.CREDITOR_ACCOUNT: payment.creditor.account,
    }
    return [TokenRecord(name, token(keys.payment_key, name, value)) for name, value in values.items() if value]
