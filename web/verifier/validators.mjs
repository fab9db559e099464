/**
 * Sets of validators, the certificates of their votes, and the handovers from one epoch's set to the next.
 *
 * Source: docs/formats.md, Blocks and Policies.
 *
 * @typedef {import('./keys.mjs').Crypto} Crypto
 * @typedef {{name: string, member: string, vote_key: Uint8Array, cosign_key: Uint8Array, log_key: Uint8Array}} Validator
 * @typedef {{epoch: bigint, sizeMin: bigint, validators: Validator[]}} Span
 *     the validators of an epoch and the least size of a log that they cosign
 */

import { hex, joined, same, utf8 } from './bytes.mjs';
import { isRegistrable, isSignedBy } from './keys.mjs';
import { leafHash } from './merkle.mjs';
import { encode } from './msgpack.mjs';
import { isKeyName } from './notes.mjs';
import { check, shown } from './refused.mjs';

const DOMAIN = 'chainnode/v1/';
const SUITE = 1n;
const RULES = [1n, 2n, 3n, 4n];
const VALIDATORS_MAX = 128;
const NAME_MAX = 64;
const COMMIT = 2n;
const NUMBER_MAX = 2n ** 63n - 1n;

/** @param {string} tag */
function domain(tag) {
  return utf8(`${DOMAIN}${tag}\0`);
}

/**
 * @param {Crypto} crypto
 * @param {string} tag
 * @param {Uint8Array} data
 */
export function domainHash(crypto, tag, data) {
  return crypto.sha256(joined(domain(tag), data));
}

/**
 * What a signature covers: a tag and fields.
 *
 * @param {string} tag
 * @param {Uint8Array} fields  canonical bytes of their array
 */
export function statement(tag, fields) {
  return joined(domain(tag), fields);
}

/** The leaf hash of a header, which is its block's hash. */
export function headerHash(crypto, header) {
  return leafHash(crypto, Uint8Array.of(0), header.raw);
}

/** Throw `Refused` for a header of a suite or of rules that this verifier does not know. */
export function checkRelease(header, step) {
  const known = header.suite === SUITE && RULES.includes(header.version);
  check(known, step, `a block of suite ${header.suite} and rules ${header.version} is unknown here: use a newer release`);
}

/** @param {number} n */
export function quorumOf(n) {
  const faults = Math.floor((n - 1) / 3);
  return Math.floor((n + faults) / 2) + 1;
}

/**
 * Throw `Refused` unless a set that a policy lists is sound.
 *
 * @param {bigint} epoch
 * @param {Validator[]} validators
 */
export function checkSet(epoch, validators) {
  const step = 'policy';
  check(epoch >= 0n, step, `epoch ${epoch}`);
  check(validators.length >= 1 && validators.length <= VALIDATORS_MAX, step, `a set of ${validators.length} validators`);
  for (const { name } of validators) {
    check([...name].length <= NAME_MAX && isKeyName(name), step, `not a validator's name: ${shown(name)}`);
  }
  check(new Set(validators.map(({ name }) => name)).size === validators.length, step, 'a validator stands twice in a set');
  const keys = validators.flatMap((each) => [each.vote_key, each.cosign_key, each.log_key]);
  check(new Set(keys.map(hex)).size === keys.length, step, 'a key stands twice in a set');
  check(keys.every(isRegistrable), step, 'a key of a set is not one of the prime-order group');
}

/** Throw `Refused` unless a quorum of a span's set committed the block of this header. */
export function checkCommitted(crypto, header, certificate, chainId, span, step = 'handovers') {
  checkRelease(header, step);
  const blockHash = headerHash(crypto, header);
  check(same(certificate.block_hash, blockHash), step, `the certificate is not of block ${header.height}`);
  check(certificate.phase === COMMIT && certificate.epoch === span.epoch, step, 'phase or epoch of the certificate');
  const inRange = certificate.view >= 0n && certificate.view <= NUMBER_MAX;
  check(inRange && certificate.height >= 1n && certificate.height <= NUMBER_MAX, step, 'view or height out of range');
  const { signatures } = certificate;
  const [count, quorum] = [span.validators.length, quorumOf(span.validators.length)];
  const enough = signatures.length >= quorum && signatures.length >= 1 && signatures.length <= count;
  check(enough, step, `${signatures.length} signers of ${count}, of whom ${quorum} are needed`);
  const message = statement(
    'commit',
    encode([chainId, certificate.epoch, certificate.view, certificate.height, certificate.block_hash]),
  );
  let previous = -1n;
  for (const [index, signature] of signatures) {
    check(index > previous && index < BigInt(count), step, 'signers are not ascending and distinct');
    previous = index;
    const { vote_key: key, name } = span.validators[Number(index)];
    check(isSignedBy(crypto, key, message, signature), step, `the vote of ${shown(name)} does not verify`);
  }
}

/**
 * The spans from `present` on to which handovers lead. Throws `Refused` where one does not follow from those before.
 *
 * @param {Crypto} crypto
 * @param {Span} present
 * @param {Uint8Array} chainId
 * @param {any[]} handovers
 * @returns {Span[]}
 */
export function follow(crypto, present, chainId, handovers) {
  const step = 'handovers';
  const spans = [present];
  for (const { header, certificate, validators } of handovers) {
    const last = spans[spans.length - 1];
    checkCommitted(crypto, header, certificate, chainId, last);
    const epoch = last.epoch + 1n;
    const set = [epoch, validators.map((each) => [each.name, each.member, each.vote_key, each.cosign_key, each.log_key])];
    const setHash = domainHash(crypto, 'validators', encode(set));
    check(same(setHash, header.next_validators), step, `the set of epoch ${epoch} is not the one that the block names`);
    const sizeMin = header.first_index + header.event_count + 2n;
    check(header.epoch === last.epoch && sizeMin > last.sizeMin, step, `block ${header.height} is of another epoch`);
    spans.push({ epoch, sizeMin, validators });
  }
  return spans;
}
