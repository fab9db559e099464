/**
 * The entrance: a proof's text and a policy's text in, a verdict out, or `Refused` with the step that failed.
 *
 * No network, no clock, no file. Never another exception: whatever else goes wrong in here refuses as well. Verdicts say
 * what `chainnode verify -o json` says, by the same names. Integers of verdicts are BigInt, which reach 2^63 - 1 unrounded;
 * `json` writes them as JSON numbers. Counts of things that are held in memory are numbers.
 *
 * @typedef {object} Options
 * @property {import('./keys.mjs').Crypto} crypto  see adapters/
 * @property {string} [certificate]  the proof must be of the status or history of this certificate's number
 * @property {string | bigint} [at]  a status proof must speak for this time, RFC 3339 or milliseconds
 * @property {string} [member]  the proof must be one of completeness, of this member
 */

import { verifyCompleteness } from './completeness.mjs';
import { checkConsistentNotes } from './consistency.mjs';
import { verifyHistory } from './histories.mjs';
import { parsePolicy } from './policy.mjs';
import { pagesOf, parseTlogProof } from './proofs.mjs';
import { verifyReceipt } from './receipts.mjs';
import { check, refuse, Refused } from './refused.mjs';
import { verifyState } from './states.mjs';
import { parseTime } from './times.mjs';
import { completenessVerdict, historyVerdict, receiptVerdict, stateVerdict, statusVerdict } from './verdicts.mjs';

export { Refused } from './refused.mjs';

const PROOF_MAX = 64 << 20;
// By the number of fields of the extra data, which is the first thing that they say.
const KINDS = new Map([
  [0x9b, 'receipt'],
  [0x97, 'status'],
  [0x9c, 'completeness'],
  [0x96, 'history'],
]);

/**
 * Which kind of proof a text holds: `receipt`, `status`, `completeness` or `history`.
 *
 * @param {string} text
 * @returns {string}
 */
export function kindOf(text) {
  const { extra } = parseTlogProof(pagesOf(text)[0], PROOF_MAX);
  return KINDS.get(extra[0]) ?? refuse('extra', 'a proof of an unknown kind: verify it with a newer release');
}

/**
 * Return what a proof proves; throws `Refused` where anything does not hold, or where it is not what the options ask for.
 *
 * @param {string} text
 * @param {string} policyText
 * @param {Options} options
 */
export function verify(text, policyText, options) {
  return guarded([text, policyText], () => {
    const { crypto, certificate, member, at } = options;
    check(member === undefined || (certificate ?? at) === undefined, 'input', 'two kinds of proof at once');
    const policy = parsePolicy(crypto, policyText);
    const kind = kindOf(text);
    const wanted = wantedBy(options);
    check(wanted === null || wanted.includes(kind), 'kind', `a proof of another kind: ${kind}`);
    if (kind === 'receipt') return receiptVerdict(verifyReceipt(crypto, text, policy));
    if (kind === 'completeness') return completenessVerdict(verifyCompleteness(crypto, text, policy, member));
    if (kind === 'history') return historyVerdict(verifyHistory(crypto, text, policy, certificate));
    return statusVerdict(verifyState(crypto, text, policy), certificate, typeof at === 'string' ? parseTime(at) : at);
  });
}

/**
 * Return what a status proof of any key of the state proves: its value, or null where nothing stood there.
 *
 * @param {string} text
 * @param {string} policyText
 * @param {Options} options
 */
export function verifyStateProof(text, policyText, { crypto }) {
  return guarded([text, policyText], () => stateVerdict(verifyState(crypto, text, parsePolicy(crypto, policyText))));
}

/**
 * Return what two checkpoints and the path between them prove: that nothing of the log was changed in between.
 *
 * @param {string} oldNote
 * @param {string} newNote
 * @param {Uint8Array[]} path  as `ledger_getConsistency` gives it
 * @param {string} policyText
 * @param {Options} options
 */
export function verifyConsistency(oldNote, newNote, path, policyText, { crypto }) {
  return guarded([oldNote, newNote, policyText], () =>
    checkConsistentNotes(crypto, oldNote, newNote, path, parsePolicy(crypto, policyText)),
  );
}

/** The kinds of proof that the options are about, or null for any. */
function wantedBy({ certificate, member, at }) {
  if (member !== undefined) return ['completeness'];
  if (at !== undefined) return ['status'];
  return certificate === undefined ? null : ['status', 'history'];
}

/** Return what `run` returns; throws nothing but `Refused`. */
function guarded(texts, run) {
  try {
    // Half a character of UTF-16 has no UTF-8: it would be replaced by another one before it is hashed.
    const whole = texts.every((text) => typeof text === 'string' && !/\p{Cs}/u.test(text));
    check(whole, 'input', 'not a text that UTF-8 can hold');
    return run();
  } catch (error) {
    if (error instanceof Refused) throw error;
    throw new Refused('internal', `the verifier failed, and accepts nothing: ${error}`);
  }
}

/**
 * A verdict as JSON; a BigInt is written as a number with all its digits.
 *
 * @param {any} value
 * @returns {string}
 */
export function json(value) {
  if (typeof value === 'bigint') return String(value);
  if (Array.isArray(value)) return `[${value.map(json).join(', ')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  return `{${Object.entries(value).map(([name, each]) => `${JSON.stringify(name)}: ${json(each)}`).join(', ')}}`;
}
