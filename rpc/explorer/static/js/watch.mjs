/**
 * On each page with a pinned policy: is this node's checkpoint one that the policy accepts, and does its log extend the
 * last one that this browser accepted? If so it takes that one's place; if not, the alarm is raised.
 */

import { raise } from './alarm.mjs';
import { relate } from './checkpoints.mjs';

/**
 * @param {import('./context.mjs').Context} context
 * @returns {Promise<import('./checkpoints.mjs').Relation | null>}  null where nothing is pinned
 */
export async function watchOwnNode(context) {
  const { pins, node, trusted, cryptography } = context;
  const { text, pin } = await trusted();
  if (pin === null) return null;
  // Read before the node is asked: whatever it shows afterwards must not be less.
  const { seen } = pins;
  const note = await node.text('/checkpoint');
  const found = await relate(await cryptography(), text, seen?.note ?? null, note, (a, b) => node.path(a, b), await context.handovers());
  // A proved beginning of what this very node showed before: it went back.
  const relation = found.relation === 'behind' ? 'rollback' : found.relation;
  if (relation === 'extends' || relation === 'same') pins.advance(found.checkpoint, note, new Date().toISOString());
  else raise(context, relation, found.what, seen?.note ?? '', note, found.report);
  return found;
}

/**
 * How a proof's own checkpoint fits the last one that this browser accepted; a smaller one is no fault of a proof, as
 * long as it is a beginning.
 *
 * @param {import('./context.mjs').Context} context
 * @param {string} note
 * @returns {Promise<import('./engine.mjs').Step>}
 */
export async function fits(context, note) {
  const { pins, node, t, trusted, cryptography } = context;
  const { text, pin } = await trusted();
  if (pin === null) return { name: 'extends', state: 'warns', what: t('extends.none') };
  const { seen } = pins;
  if (seen === null) return { name: 'extends', state: 'holds', what: '' };
  const found = await relate(await cryptography(), text, seen.note, note, (a, b) => node.path(a, b), await context.handovers());
  if (['same', 'extends', 'behind'].includes(found.relation)) return { name: 'extends', state: 'holds', what: '' };
  if (found.relation !== 'refused') raise(context, found.relation, found.what, seen.note, note, found.report);
  return { name: 'extends', state: 'fails', what: `${t(`alarm.${found.relation}`)} ${found.what}` };
}
