/**
 * How two checkpoints of one log stand to each other: what keeps a node, or all of them together, to one history.
 *
 * @typedef {{path: string[], old_root: string}} Path  what `ledger_getConsistency` gives, in hex
 * @typedef {object} Relation
 * @property {'same' | 'extends' | 'behind' | 'fork' | 'unproved' | 'refused'} relation
 *     of the new note to the old one: `behind` is a proved beginning of it; `fork` are two logs, each signed by a quorum;
 *     `unproved` is two sizes and no proof that one begins with the other; `refused`: the policy does not accept a note
 * @property {string} what  what was wrong, else empty
 * @property {{origin: string, size: bigint, root: Uint8Array} | null} checkpoint  the new one, where it is accepted
 * @property {string | null} report  of a fork: the text that `chainnode audit fork` verifies
 */

import { base64, fromHex, same } from '../verifier/bytes.mjs';
import { checkConsistency } from '../verifier/merkle.mjs';
import { decode, encode } from '../verifier/msgpack.mjs';
import { checkCheckpoint, parsePolicy } from '../verifier/policy.mjs';
import { handover } from '../verifier/records.mjs';
import { check } from '../verifier/refused.mjs';
import { asRefused } from './steps.mjs';

const PATH_MAX = 64;
const HASH = /^[0-9a-f]{64}$/;
const FORK_VERSION = 1n;

/**
 * @param {import('./crypto.mjs').Cryptography} cryptography
 * @param {string} policyText
 * @param {string | null} oldNote  null where there is none to compare with
 * @param {string} newNote
 * @param {(oldSize: bigint, newSize: bigint) => Promise<Path>} pathOf  between two sizes, from anybody: it is verified
 * @param {Uint8Array[]} [handovers]  canonical bytes of those that lead from the policy's last epoch to later ones
 * @returns {Promise<Relation>}
 */
export async function relate(cryptography, policyText, oldNote, newNote, pathOf, handovers = []) {
  let [older, newer] = [null, null];
  try {
    newer = await accepted(cryptography, policyText, newNote, handovers);
    older = oldNote === null ? null : await accepted(cryptography, policyText, oldNote, handovers);
  } catch (error) {
    return { relation: 'refused', what: asRefused(error).message, checkpoint: newer, report: null };
  }
  const said = (relation, what = '', report = null) => ({ relation, what, checkpoint: newer, report });
  if (older === null) return said('extends');
  if (older.origin !== newer.origin) return said('unproved', 'checkpoints of two logs');
  const fork = (parts) => said('fork', 'two logs, both signed by a quorum', forkReport({ ...parts, handovers }));
  if (older.size === newer.size) {
    return same(older.root, newer.root) ? said('same') : fork({ first: oldNote, second: newNote });
  }
  const grows = older.size < newer.size;
  const [small, large] = grows ? [older, newer] : [newer, older];
  try {
    const found = await pathOf(small.size, large.size);
    const [path, prefixRoot] = [hashesOf(found?.path), hashesOf([found?.old_root])[0]];
    const leadsFrom = (root) => cryptography.run((crypto) => checkConsistency(crypto, small.size, root, large.size, large.root, path));
    if (same(prefixRoot, small.root)) {
      await leadsFrom(small.root);
      return said(grows ? 'extends' : 'behind');
    }
    // The larger log's own beginning is another one than what was signed as the smaller log.
    await leadsFrom(prefixRoot);
    const [first, second] = grows ? [oldNote, newNote] : [newNote, oldNote];
    return fork({ first, second, prefixRoot, path });
  } catch (error) {
    return said('unproved', error instanceof Error ? error.message : String(error));
  }
}

/**
 * The checkpoint of a note that the policy accepts; rejects with `Refused` for any other.
 *
 * @param {import('./crypto.mjs').Cryptography} cryptography
 * @param {string} policyText
 * @param {string} note
 * @param {Uint8Array[]} handovers
 */
export function accepted(cryptography, policyText, note, handovers = []) {
  return cryptography.run((crypto) => {
    const decoded = handovers.map((data) => decode(handover, data, 'handovers'));
    return checkCheckpoint(crypto, parsePolicy(crypto, policyText), note, decoded).checkpoint;
  });
}

/** The text of docs/formats.md, Forks; the smaller log's note first. */
function forkReport({ first, second, prefixRoot = new Uint8Array(), path = [], handovers }) {
  const extra = encode([FORK_VERSION, prefixRoot, path, []]);
  // The handovers are records already: their array takes the place of the empty one at the end.
  const list = encode(handovers.map(() => null)).slice(0, lengthBytes(handovers.length));
  const whole = Uint8Array.from([...extra.slice(0, -1), ...list, ...handovers.flatMap((data) => [...data])]);
  return `chainnode.fork@v1\nextra ${base64(whole)}\n\n${first}\n${second}`;
}

/** How many bytes say how long an array is. */
function lengthBytes(length) {
  if (length < 16) return 1;
  return length < 1 << 16 ? 3 : 5;
}

function hashesOf(path) {
  const fits = Array.isArray(path) && path.length <= PATH_MAX && path.every((item) => HASH.test(item));
  check(fits, 'consistency', 'no path of hashes');
  return path.map(fromHex);
}
