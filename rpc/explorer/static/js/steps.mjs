/**
 * The steps of a verification by the names of docs/proofs.md, and which of them hold where the verifier accepts or refuses.
 *
 * The verifier stops at the first step that fails: what stands before it holds, and of what stands behind nothing is known.
 * Where a proof has pages or many events, steps come round again, so that a refusal leaves all but the policy open.
 */

import { Refused } from '../verifier/refused.mjs';

const CHECKPOINT = ['policy', 'proof', 'checkpoint', 'log signature', 'cosignatures'];

/** In the order in which the verifier takes them, by kind of proof. `proof`: its text and extra data can be read. */
export const STEPS = {
  receipt: [...CHECKPOINT, 'event', 'header', 'outcome', 'batch', 'source signature'],
  status: [...CHECKPOINT, 'header', 'state', 'next header', 'time', 'certificate'],
  history: [...CHECKPOINT, 'header', 'state', 'next header', 'certificate', 'event', 'history'],
  completeness: [...CHECKPOINT, 'header', 'blocks', 'range', 'batches', 'times'],
  block: ['policy', 'header', 'votes'],
  checkpoint: ['policy', 'checkpoint', 'log signature', 'cosignatures'],
  fork: [...CHECKPOINT, 'contradiction'],
};
const ROUND_AGAIN = new Set(['history', 'completeness']);

/** Steps of what a page adds: that the proof is of what was asked, that the page shows it, how it fits what was pinned. */
export const PAGE_STEPS = ['asked', 'shown', 'extends', 'fresh'];
export const OF_ASKED = new Set(['kind', 'key', 'member']);

const NAMES = new Map([
  ['extra', 'proof'],
  ['note', 'checkpoint'],
  ['origin', 'checkpoint'],
  ['epoch', 'checkpoint'],
  ['handovers', 'checkpoint'],
  ['batch signature', 'source signature'],
]);
// What belongs to the events of a page, by kind.
const WITHIN = {
  checkpoint: { proof: 'checkpoint' },
  fork: { consistency: 'contradiction' },
  block: { handovers: 'votes', checkpoint: 'votes' },
  history: { outcome: 'event', time: 'certificate' },
  completeness: { heads: 'range', block: 'blocks', event: 'batches', outcome: 'batches', batch: 'batches', 'source signature': 'batches', completeness: 'range' },
};

/**
 * The step of a page at which the verifier refused.
 *
 * @param {string} kind  of proof
 * @param {string} step  the verifier's name
 */
export function stepOf(kind, step) {
  if (OF_ASKED.has(step)) return 'asked';
  const name = NAMES.get(step) ?? step;
  const within = WITHIN[kind]?.[name] ?? name;
  // Bytes that nothing else names belong to what is read first after the policy.
  const steps = STEPS[kind] ?? STEPS.receipt;
  return steps.includes(within) ? within : steps[1];
}

/**
 * What is known of each step: `holds`, `fails` with what was wrong, or `open`.
 *
 * @param {string} kind
 * @param {Refused | null} refused  null where the verifier accepted
 * @returns {{name: string, state: 'holds' | 'fails' | 'open', what: string}[]}
 */
export function judged(kind, refused) {
  const names = STEPS[kind] ?? STEPS.receipt;
  const failed = refused && stepOf(kind, refused.step);
  const reached = failed === null ? names.length : held(kind, names.indexOf(failed));
  return names.map((name, i) => {
    if (refused && name === failed) return { name, state: 'fails', what: `${refused.step}: ${refused.what}` };
    return { name, state: i < reached ? 'holds' : 'open', what: '' };
  });
}

/** How many steps are known to hold where the one at `index` failed; -1 is one of the page's own. */
function held(kind, index) {
  return ROUND_AGAIN.has(kind) ? Math.min(index, 1) : index;
}

/** Return the error as `Refused`: whatever else goes wrong refuses as well. */
export function asRefused(error) {
  return error instanceof Refused ? error : new Refused('internal', String(error));
}

/** @returns {import('./engine.mjs').Step} */
export function step(name, state, what = '') {
  return { name, state, what };
}
