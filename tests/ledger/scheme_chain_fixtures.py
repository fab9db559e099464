"""A chain on which certificates live by the third rules, or come to them: officers, batches, blocks, checkpoints."""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec.structs import replace

from ledger.accreditations import USUAL_STANDARD, AccreditedRole
from ledger.certificate_bodies import Body, Grant, GrantSigned, Revoke, RevokeSigned
from ledger.certificate_records import Application, Certificate, read_application, read_certificate
from ledger.genesis import Genesis, GenesisAccreditation, GenesisMember, GenesisSource
from ledger.governance_bodies import Accredit, ActivateRules
from ledger.members import Officer
from ledger.rules import RULES_SCHEME
from ledger.scheme_records import CertificateScheme, read_certificate_scheme
from tests.ledger.certificate_fixtures import APPLICATION, NUMBER, ROLES, grant
from tests.ledger.certifying_fixtures import Certifying
from tests.ledger.governance_fixtures import DAY_MS, START_MS, key_of
from tests.ledger.scheme_fixtures import officer_of, road, signed

ACTIVATION_BLOCKS = 40
ACCREDITED = tuple(
    GenesisAccreditation(
        member, AccreditedRole(role), tuple(range(1, 15)), START_MS, START_MS + 2_190 * DAY_MS, USUAL_STANDARD[role]
    )
    for member, roles in ROLES.items()
    for role in roles
    if role in set(AccreditedRole)
)
"""Who examines and inspects is accredited for all categories and six years."""


def _with_officers(member: GenesisMember) -> GenesisMember:
    officers = (Officer(officer_of(member.id, number).public, "certification") for number in range(2))
    panel = GenesisSource(key_of(member.id, "panel").public, member.roles)
    return replace(member, officers=tuple(officers), sources=(*member.sources, panel))


@dataclass
class SchemeChain(Certifying):
    """A council whose members have two officers each; `begins_by` is the version of the rules that it begins with."""

    rules: tuple[int, ...] = (1, 2, 3)
    begins_by: int = field(default=RULES_SCHEME, kw_only=True)

    def founded(self) -> Genesis:
        """Return the genesis."""
        genesis = super().founded()
        members = tuple(_with_officers(member) if member.id in ROLES else member for member in genesis.members)
        accreditations = ACCREDITED if self.begins_by >= RULES_SCHEME else ()
        return replace(genesis, members=members, rules=self.begins_by, accreditations=accreditations)

    def application(self, application: str = APPLICATION) -> Application:
        """Return an application that is there."""
        found = read_application(self.state, application)
        assert found is not None
        return found

    def certificate_at(self, number: str = NUMBER) -> Certificate:
        """Return a certificate that is there."""
        found = read_certificate(self.state, number)
        assert found is not None
        return found

    def beside(self, number: str = NUMBER) -> CertificateScheme:
        """Return what stands beside a certificate."""
        return read_certificate_scheme(self.state, number)

    def signed(
        self, body: Grant | Revoke, member: str = "cb", numbers: tuple[int, int] = (0, 1)
    ) -> GrantSigned | RevokeSigned:
        """Return schema 2 of a decision, signed by two officers of a member upon the present record."""
        subject = self.application(body.application) if isinstance(body, Grant) else self.beside(body.number)
        return signed(body, subject, member, numbers, self.chain_id)

    def reviewed(self, application: str = APPLICATION) -> SchemeChain:
        """Bring an application of bank-a's to its review, a block an event."""
        for step in road(application):
            self.act(*step)
        return self

    def granted(self, application: str = APPLICATION, number: str = NUMBER) -> SchemeChain:
        """Bring a certificate of bank-a's into force."""
        self.reviewed(application).act("cb", "decider", self.signed(grant(application, number)))
        return self

    def wait(self, time_ms: int) -> None:
        """Let the next block be after a time."""
        self.now_ms = max(self.now_ms, time_ms)

    def accredit(self) -> None:
        """Vote for the accreditations that a chain of the third rules begins with."""
        for number, entry in enumerate(ACCREDITED):
            fields = (getattr(entry, name) for name in entry.__struct_fields__)
            self.vote(self.propose(Accredit(*fields), f"bank-{number % self.validators}"), 0, 1, 2)

    def activate(self, version: int) -> None:
        """Vote for the rules of a version, and go on until the next block is by them."""
        height = self.chain.height + ACTIVATION_BLOCKS
        proposal = self.propose(ActivateRules(version, height))
        self.vote(proposal, 0, 1, 2)
        while self.chain.height < height - 1:
            self.block()

    def rule_of(self, who: str, body: Body) -> str:
        """Commit a block with one event and return the rule that it broke, empty where it was applied."""
        return self.block((who, body)).outcomes[0].rule
