"""A chain on which bank-a's certificate has a mark, and the proofs by which anybody judges it."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.certificate_bodies import Grant
from ledger.certificate_records import certificate_key
from ledger.mark_bodies import LicenseMark, Medium
from ledger.mark_codes import MarkCode, mark_code
from ledger.mark_records import mark_key
from ledger.scheme_policy import SCHEME_POLICY_KEY
from ledger.scheme_records import certificate_scheme_key
from ledger.status_proofs import make_status_proof
from tests.ledger.certificate_fixtures import NUMBER, grant
from tests.ledger.mark_fixtures import PLAIN, document
from tests.ledger.scheme_chain_fixtures import SchemeChain

SITE = "https://explorer.example"


@dataclass
class MarkChain(SchemeChain):
    """A council that certifies, licenses and withdraws marks."""

    def licensed(self, *media: Medium, granted: Grant | None = None) -> MarkChain:
        """Grant bank-a's certificate and license its mark, with a checkpoint over it."""
        self.reviewed().act("cb", "decider", self.signed(granted or grant()))
        self.act("cb", "first", LicenseMark(NUMBER, media or PLAIN, None, document("terms")))
        self.stable()
        return self

    def proof(self, key: str, height: int | None = None) -> str:
        """Return the proof of a row of the state, by default of the tip's."""
        found = make_status_proof(self.reader, key, self.chain.height if height is None else height)
        assert found is not None
        return found

    def proofs(self, number: str = NUMBER, height: int | None = None) -> list[str]:
        """Return the four proofs by which a mark is judged."""
        keys = (certificate_key(number), mark_key(number), SCHEME_POLICY_KEY, certificate_scheme_key(number))
        return [self.proof(key, height) for key in keys]

    def code(self, site: str = SITE) -> MarkCode:
        """Return the code of the certificate's mark."""
        return mark_code(site, self.chain_id, self.certificate_at())
