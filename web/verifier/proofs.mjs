/**
 * The text of a C2SP tlog-proof, and what every kind of proof here asks of a block's header, an outcome and a batch.
 *
 * @typedef {import('./keys.mjs').Crypto} Crypto
 * @typedef {import('./policy.mjs').Checked} Checked
 * @typedef {{extra: Uint8Array, index: bigint, path: Uint8Array[], note: string}} TlogProof
 */

import { fromBase64, hex, joined } from './bytes.mjs';
import { isSignedBy } from './keys.mjs';
import { checkInclusion, leafHash, PATH_MAX } from './merkle.mjs';
import { decode, encode } from './msgpack.mjs';
import { event as eventType, outcomes as outcomesType } from './records.mjs';
import { check, refuse, shown } from './refused.mjs';
import { checkRelease, domainHash, headerHash, statement } from './validators.mjs';

export const HEADING = 'c2sp.org/tlog-proof@v1';
export const PROOF_MAX = 1 << 20;
const OUTCOMES_A_LEAF = 32n;
const BLOCK_EVENTS_MAX = 1 << 20;

/**
 * @param {string} text
 * @param {number} [most]  characters
 * @returns {TlogProof}
 */
export function parseTlogProof(text, most = PROOF_MAX) {
  const step = 'proof';
  check(text.length <= most, step, `the proof has more than ${most} characters`);
  const cut = text.indexOf('\n\n');
  const lines = (cut < 0 ? '' : text.slice(0, cut)).split('\n');
  check(lines[0] === HEADING, step, `not a proof: ${HEADING} first, and an empty line before the checkpoint`);
  check(lines.length >= 3 && lines[1].startsWith('extra '), step, 'line 2 is not: extra BASE64');
  const match = /^index (0|[1-9][0-9]{0,18})$/.exec(lines[2]);
  if (!match) return refuse(step, 'line 3 is not: index NUMBER');
  check(lines.length - 3 <= PATH_MAX, step, `the path has more than ${PATH_MAX} hashes`);
  const path = lines.slice(3).map((line) => fromBase64(line, step));
  check(path.every((item) => item.length === 32), step, 'a line of the path is not a hash');
  return { extra: fromBase64(lines[1].slice(6), step), index: BigInt(match[1]), path, note: text.slice(cut + 2) };
}

/**
 * The proofs of a text that holds one after the other.
 *
 * @param {string} text
 */
export function pagesOf(text) {
  const [before, ...pages] = text.split(`${HEADING}\n`);
  check(before === '' && pages.length > 0, 'proof', `not a proof: ${HEADING} first`);
  return pages.map((page) => `${HEADING}\n${page}`);
}

/** The place of a header's leaf in the log: after the events of its block. */
export function placeOf(header) {
  return header.first_index + header.event_count;
}

/**
 * Throw `Refused` unless a header is of the log's chain and stands in the log at the place that it names.
 *
 * @param {Crypto} crypto
 * @param {any} header
 * @param {Uint8Array[]} path
 * @param {Checked} checked
 * @param {string} [step]
 */
export function checkHeader(crypto, header, path, { checkpoint }, step = 'header') {
  checkRelease(header, step);
  check(checkpoint.origin.endsWith(`/${hex(header.chain_id)}`), step, "a block of another chain than the log's");
  checkInclusion(crypto, checkpoint.root, checkpoint.size, placeOf(header), headerHash(crypto, header), path, step);
}

/**
 * An event from its canonical bytes, with its id: the leaf hash of its kind and these bytes.
 *
 * @param {Crypto} crypto
 * @param {Uint8Array} data
 */
export function readEvent(crypto, data) {
  const event = decode(eventType, data, 'event');
  return { event, id: leafHash(crypto, Uint8Array.of(Number(event.kind)), data) };
}

/**
 * The outcome of event `index` of a header's block.
 *
 * @param {Crypto} crypto
 * @param {any} proof
 * @param {any} header
 * @param {bigint} index
 */
export function checkOutcome(crypto, proof, header, index) {
  const step = 'outcome';
  const count = header.event_count;
  check(index >= 0n && index < count, step, `event ${index} of a block of ${count}`);
  const leaf = index / OUTCOMES_A_LEAF;
  const leaves = (count + OUTCOMES_A_LEAF - 1n) / OUTCOMES_A_LEAF;
  checkInclusion(crypto, header.outcomes_root, leaves, leaf, leafHash(crypto, proof.leaf), proof.path, step);
  const outcomes = decode(outcomesType, proof.leaf, step);
  const left = count - leaf * OUTCOMES_A_LEAF;
  const expected = left < OUTCOMES_A_LEAF ? left : OUTCOMES_A_LEAF;
  check(BigInt(outcomes.length) === expected, step, `a leaf of ${outcomes.length} outcomes instead of ${expected}`);
  return outcomes[Number(index % OUTCOMES_A_LEAF)];
}

/**
 * The leaf hashes of the outcomes of a whole block, of which only those that were not applied are listed.
 *
 * @param {Crypto} crypto
 * @param {bigint} count
 * @param {Map<bigint, any>} rejected
 */
export function outcomeLeaves(crypto, count, rejected) {
  check(count >= 0n && count <= BLOCK_EVENTS_MAX, 'outcome', `a block of ${count} events`);
  const applied = [0n, '', ''];
  const leaves = [];
  for (let start = 0n; start < count; start += OUTCOMES_A_LEAF) {
    const leaf = [];
    for (let index = start; index < count && index < start + OUTCOMES_A_LEAF; index++) {
      const outcome = rejected.get(index);
      leaf.push(outcome ? [outcome.code, outcome.rule, outcome.detail] : applied);
    }
    leaves.push(leafHash(crypto, encode(leaf)));
  }
  return leaves;
}

/**
 * @param {Crypto} crypto
 * @param {any} header  of a batch
 */
export function batchHash(crypto, header) {
  return domainHash(crypto, 'batch', header.raw);
}

/**
 * Throw `Refused` unless a batch is one of the block of this header.
 *
 * @param {Crypto} crypto
 * @param {any} place
 * @param {any} batch  its header
 * @param {any} header
 */
export function checkBatchPlace(crypto, place, batch, header) {
  const leaf = leafHash(crypto, batchHash(crypto, batch));
  checkInclusion(crypto, header.batches_root, place.count, place.index, leaf, place.path, 'batch');
}

/**
 * Throw `Refused` unless a batch's source signed its header.
 *
 * @param {Crypto} crypto
 * @param {any} batch  its header
 * @param {Uint8Array | null} signature
 */
export function checkBatchSignature(crypto, batch, signature) {
  // The fields of the statement are the header alone, so their array is one byte and the header.
  const message = statement('batch', joined(Uint8Array.of(0x91), batch.raw));
  const holds = signature !== null && isSignedBy(crypto, batch.source, message, signature);
  check(holds, 'batch signature', `the source's signature of batch ${batch.number} of ${shown(batch.member)} does not verify`);
}
