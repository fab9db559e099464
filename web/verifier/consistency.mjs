/**
 * Two checkpoints of one log: that the later one changed and removed nothing of the earlier one.
 *
 * Both must be accepted by the policy. What `ledger_getConsistency` gives is the path between their sizes.
 */

import { hex } from './bytes.mjs';
import { checkConsistency } from './merkle.mjs';
import { checkCheckpoint } from './policy.mjs';
import { check } from './refused.mjs';

/**
 * Return both checkpoints; throws `Refused` unless the log of the second note begins with that of the first.
 *
 * @param {import('./keys.mjs').Crypto} crypto
 * @param {string} oldNote
 * @param {string} newNote
 * @param {Uint8Array[]} path
 * @param {import('./policy.mjs').Policy} policy
 * @param {any[]} [handovers]
 */
export function checkConsistentNotes(crypto, oldNote, newNote, path, policy, handovers = []) {
  const older = checkCheckpoint(crypto, policy, oldNote, handovers);
  const newer = checkCheckpoint(crypto, policy, newNote, handovers);
  const [first, second] = [older.checkpoint, newer.checkpoint];
  check(first.origin === second.origin, 'consistency', 'checkpoints of two logs');
  checkConsistency(crypto, first.size, first.root, second.size, second.root, path);
  return {
    verified: true,
    sentence: `the log of ${second.size} leaves begins with that of ${first.size}`,
    origin: first.origin,
    old: { size: first.size, root: hex(first.root), cosigners: older.cosigners },
    new: { size: second.size, root: hex(second.root), cosigners: newer.cosigners },
  };
}
