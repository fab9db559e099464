/** Verifies what the page of two checkpoints shows: both notes by the policy, and that one log extends the other. */

import { raise } from './alarm.mjs';
import { relate } from './checkpoints.mjs';
import { contextOfPage } from './context.mjs';

const SHOWN = { extends: 'verified', same: 'verified', provisional: 'provisional' };

/**
 * The key of what is to be said of two notes, and why.
 *
 * @param {import('./context.mjs').Context} context
 * @param {{old: string, new: string}} sizes  as the reader's address has them
 */
export async function verdictOn(context, sizes) {
  const { node, trusted, cryptography } = context;
  const { text, pin } = await trusted();
  const [older, newer] = [await node.text(`/checkpoints/${sizes.old}.note`), await node.text(`/checkpoints/${sizes.new}.note`)];
  // A note of another size answers another question.
  const asked = older.split('\n')[1] === sizes.old && newer.split('\n')[1] === sizes.new;
  if (!asked) return { said: 'unproved', what: '' };
  const found = await relate(await cryptography(), text, older, newer, (a, b) => node.path(a, b), await context.handovers());
  if (found.relation === 'fork') raise(context, 'fork', found.what, older, newer, found.report);
  const holds = found.relation === 'extends' || (found.relation === 'same' && sizes.old === sizes.new);
  if (holds) return { said: pin === null ? 'provisional' : 'extends', what: '' };
  return { said: ['fork', 'refused'].includes(found.relation) ? found.relation : 'unproved', what: found.what };
}

async function show(place) {
  // By the address, not by the page: the node may show another proof than was asked for.
  const asked = new URLSearchParams(location.search);
  let verdict;
  try {
    verdict = await verdictOn(contextOfPage(), { old: asked.get('old') ?? place.dataset.old, new: asked.get('new') ?? place.dataset.new });
  } catch (error) {
    verdict = { said: 'away', what: error.message };
  }
  place.dataset.verdict = SHOWN[verdict.said] ?? (verdict.said === 'away' ? 'off' : 'refused');
  place.textContent = verdict.what ? `${place.dataset[verdict.said]} (${verdict.what})` : place.dataset[verdict.said];
}

const place = globalThis.document?.querySelector('[data-consistency]');
if (place) await show(place);
