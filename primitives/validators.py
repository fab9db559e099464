"""Validators, their set in an epoch, and its integer arithmetic of faults and quorums.

n >= 3f+1 validators, of which f may be malicious or gone; q = floor((n+f)/2)+1, so two quorums share an honest one.
"""

from __future__ import annotations

from functools import cached_property

import msgspec

from primitives.encoding import Record, encode
from primitives.errors import InputError
from primitives.hashing import domain_hash
from primitives.ids import Epoch, Hash, MemberId, View
from primitives.keys import check_public_key
from primitives.notes import is_key_name

VALIDATORS_MAX = 128
NAME_CHARACTERS_MAX = 64


class Validator(Record):
    """A voting node: its name, its member, and 32-byte Ed25519 keys for votes, cosignatures and its own log notes."""

    name: str
    member: MemberId
    vote_key: bytes
    cosign_key: bytes
    log_key: bytes


class ValidatorSet(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, dict=True):
    """The validators of one epoch, in order: a validator's index is its place here."""

    epoch: Epoch
    validators: tuple[Validator, ...]

    @cached_property
    def n(self) -> int:
        """The number of validators."""
        return len(self.validators)

    @cached_property
    def f(self) -> int:
        """The number of validators that may be malicious or gone."""
        return (len(self.validators) - 1) // 3

    @cached_property
    def quorum(self) -> int:
        """The votes that decide: q = floor((n+f)/2)+1."""
        return (self.n + self.f) // 2 + 1

    @cached_property
    def hash(self) -> Hash:
        """The set's hash, as headers name it."""
        return domain_hash("validators", encode(self))

    @cached_property
    def indexes(self) -> dict[str, int]:
        """Index by validator name."""
        return {validator.name: index for index, validator in enumerate(self.validators)}

    def leader(self, view: View) -> int:
        """Return the index of the leader of a view in this epoch."""
        return (self.epoch + view) % self.n

    def check(self) -> None:
        """Raise `InputError` unless names and keys are distinct, keys acceptable, and the number within limits."""
        if not 1 <= self.n <= VALIDATORS_MAX:
            raise InputError("number of validators", expected=f"1 to {VALIDATORS_MAX}", got=self.n)
        if self.epoch < 0:
            raise InputError("a validator set's epoch", where="validators", expected="0 or more", got=self.epoch)
        for validator in self.validators:
            if len(validator.name) > NAME_CHARACTERS_MAX or not is_key_name(validator.name):
                raise InputError(
                    "a validator's name",
                    where="validators",
                    expected=f"1 to {NAME_CHARACTERS_MAX} characters, no spaces, plus or control characters",
                    got=validator.name,
                )
        if len(self.indexes) != self.n:
            raise InputError("two validators have the same name", where="validators")
        keys = [key for v in self.validators for key in (v.vote_key, v.cosign_key, v.log_key)]
        if len(set(keys)) != len(keys):
            raise InputError("a key stands twice among the validators", where="validators", expected="distinct keys")
        for key in keys:
            check_public_key(key)
