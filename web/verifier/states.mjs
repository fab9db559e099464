/**
 * Status proofs: what the state held under a key at a block, or that it held nothing, and until when.
 *
 * The state is a sparse Merkle map: 256 bits of a key's path lead from the root downwards, and a subtree of one leaf is
 * that leaf. Source: docs/formats.md, State and Status proofs.
 *
 * @typedef {import('./keys.mjs').Crypto} Crypto
 * @typedef {{status: string, sinceMs: bigint | null, untilMs: bigint | null, due: boolean}} Status
 *     since when; when it changes if no event does it (null: never); whether a revocation is due
 */

import { joined, same, textOf, utf8 } from './bytes.mjs';
import { decode } from './msgpack.mjs';
import { checkCheckpoint } from './policy.mjs';
import { checkHeader, parseTlogProof, placeOf } from './proofs.mjs';
import { certificate as certificateType, statusProof } from './records.mjs';
import { check, refuse, shown } from './refused.mjs';
import { headerHash } from './validators.mjs';

const VERSION = 2n;
const EMPTY = new Uint8Array(32);
const DEPTH_MAX = 256;
const PREFIX = 'certificate/';
const NUMBER = /^[A-Z]{2,8}-[0-9]{4}-[0-9]{2}-[0-9]{4,8}$/;
const PATH = utf8('chainnode/v1/state-path\0');
const LEAF = utf8('chainnode/v1/state-leaf\0');
const NODE = utf8('chainnode/v1/state-node\0');

/**
 * @param {Uint8Array} path
 * @param {number} depth
 */
function bitOf(path, depth) {
  return (path[depth >> 3] >> (7 - (depth & 7))) & 1;
}

/**
 * Throw `Refused` unless a key has a value (null: is absent) in the map with this root.
 *
 * @param {Crypto} crypto
 * @param {Uint8Array} root
 * @param {Uint8Array} key
 * @param {Uint8Array | null} value
 * @param {any} proof
 */
export function checkState(crypto, root, key, value, { siblings, other }) {
  const step = 'state';
  check(siblings.length <= DEPTH_MAX, step, `a path of ${siblings.length} hashes`);
  const path = crypto.sha256(joined(PATH, key));
  let node = EMPTY;
  if (value !== null) {
    check(other === null, step, 'a proof of presence names another leaf');
    node = crypto.sha256(joined(LEAF, path, crypto.sha256(value)));
  } else if (other !== null) {
    const [otherPath, valueHash] = other;
    check(otherPath.length === 32 && !same(otherPath, path), step, 'a proof of absence names no other leaf');
    for (let depth = 0; depth < siblings.length; depth++) {
      check(bitOf(path, depth) === bitOf(otherPath, depth), step, 'a proof of absence names a leaf of another place');
    }
    node = crypto.sha256(joined(LEAF, otherPath, valueHash));
  }
  for (let depth = siblings.length - 1; depth >= 0; depth--) {
    const pair = bitOf(path, depth) ? [siblings[depth], node] : [node, siblings[depth]];
    node = crypto.sha256(joined(NODE, ...pair));
  }
  check(same(node, root), step, 'the path does not lead to the state root');
}

/**
 * Return what a status proof proves; throws `Refused` where anything does not hold.
 *
 * @param {Crypto} crypto
 * @param {string} text
 * @param {import('./policy.mjs').Policy} policy
 */
export function verifyState(crypto, text, policy) {
  const proof = parseTlogProof(text);
  const extra = decode(statusProof, proof.extra, 'extra');
  return checkStatus(crypto, extra, proof, checkCheckpoint(crypto, policy, proof.note, extra.handovers));
}

/**
 * Return what the extra data of a status proof prove that came in this tlog-proof, under its accepted checkpoint.
 *
 * `untilMs` is the time of the next block, at which another value may begin. Where the block `isNewest`, it is the
 * earliest time at which a cosigner vouched for it, itself included. It is null where the checkpoint lies further on.
 *
 * @param {Crypto} crypto
 * @param {any} extra
 * @param {import('./proofs.mjs').TlogProof} proof
 * @param {import('./policy.mjs').Checked} checked
 */
export function checkStatus(crypto, extra, proof, checked) {
  check(extra.version === VERSION, 'extra', `a status proof of version ${extra.version}`);
  const { header, following } = extra;
  const place = placeOf(header);
  check(proof.index === place, 'header', `the index is ${proof.index}, the header's is ${place}`);
  checkHeader(crypto, header, proof.path, checked);
  checkState(crypto, header.state_root, extra.key, extra.value, extra.proof);
  let untilMs = null;
  if (following !== null) {
    checkHeader(crypto, following.header, following.path, checked, 'next header');
    const follows =
      same(following.header.parent, headerHash(crypto, header)) && following.header.height === header.height + 1n;
    check(follows, 'next header', 'it does not follow the first one');
    untilMs = following.header.time_ms;
  } else if (checked.checkpoint.size === place + 1n) {
    untilMs = laterOf(checked.firstSecond * 1_000n, header.time_ms);
  }
  const isNewest = following === null && untilMs !== null;
  return { key: extra.key, value: extra.value, header, untilMs, isNewest, checked };
}

/**
 * @param {bigint} a
 * @param {bigint} b
 */
export function laterOf(a, b) {
  return a > b ? a : b;
}

/** The last time at which a status proof proves its value. */
export function lastOf({ header, untilMs, isNewest }) {
  if (untilMs === null) return header.time_ms;
  return isNewest ? untilMs : untilMs - 1n;
}

/** Whether a status proof proves its value at a time. */
export function covers(verdict, time) {
  return verdict.header.time_ms <= time && time <= lastOf(verdict);
}

/** The number of the certificate that a status proof is of, by its key; anything at all can be proved to be absent. */
export function numberOf({ key }) {
  const text = textOf(key);
  if (!text?.startsWith(PREFIX) || !NUMBER.test(text.slice(PREFIX.length))) return refuse('key', 'a status proof of another thing than a certificate');
  return text.slice(PREFIX.length);
}

/** Throw `Refused` unless a status proof is of this certificate. */
export function checkNumber({ key }, number) {
  check(same(key, utf8(PREFIX + number)), 'key', `the proof is not of the certificate ${shown(number)}`);
}

/** The certificate that a value holds, or null for an absent one. */
export function readCertificate(value) {
  return value === null ? null : decode(certificateType, value, 'certificate');
}

/**
 * Return the status of the proved certificate at a time, or null where there is no such certificate.
 *
 * @param {any} verdict  of `verifyState`
 * @param {bigint} time
 * @returns {Status | null}
 */
export function certificateStatus(verdict, time) {
  const span = `from ${verdict.header.time_ms} to ${lastOf(verdict)}`;
  check(covers(verdict, time), 'time', `the proof is of the time ${span}, and not of ${time}`);
  const certificate = readCertificate(verdict.value);
  return certificate === null ? null : statusAt(certificate, time);
}

/**
 * What a certificate's record says of it at a time; the first of these rules that applies decides.
 *
 * @returns {Status}
 */
export function statusAt(certificate, time) {
  const { revocation, suspension, valid_from_ms: from, valid_until_ms: end } = certificate;
  const said = (status, sinceMs, untilMs = null, due = false) => ({ status, sinceMs, untilMs, due });
  if (revocation !== null && time >= revocation.invalid_from_ms) return said('revoked', revocation.invalid_from_ms);
  if (time < certificate.history.changed_ms) {
    check(time < from, 'time', 'this version of the record does not reach back so far');
    return said('not_yet_valid', null, from);
  }
  if (certificate.state === 'cancelled') return said('cancelled', certificate.since_ms);
  if (time >= end) return said('expired', end);
  if (suspension !== null) {
    // Only an event or the end of the term ends a suspension: past its own end the revocation is due.
    const due = time >= suspension.until_ms;
    return said('suspended', suspension.from_ms, due || suspension.until_ms > end ? end : suspension.until_ms, due);
  }
  return time < from ? said('not_yet_valid', null, from) : said('valid', certificate.since_ms, end);
}
