/**
 * Examines what is no proof of an event or a state: a checkpoint alone, and two that contradict each other, as the alarm
 * of a page gives them to be saved and `chainnode audit fork` verifies them. Source: docs/formats.md, Forks.
 */

import { fromBase64, hex, same } from '../verifier/bytes.mjs';
import { checkConsistency } from '../verifier/merkle.mjs';
import { bytes, decode, int, list, record } from '../verifier/msgpack.mjs';
import { checkCheckpoint, parsePolicy } from '../verifier/policy.mjs';
import { handover, HANDOVERS_MAX } from '../verifier/records.mjs';
import { check, refuse } from '../verifier/refused.mjs';
import { formatTime } from '../verifier/times.mjs';
import { NOTHING } from './proved.mjs';
import { asRefused, judged, step } from './steps.mjs';

const FORK = 'chainnode.fork@v1\n';
const SIGNATURE = '\n\n\u2014 ';
const VERSION = 1n;
const forkExtra = record({ version: int(), prefix_root: bytes(0, 32), path: list(bytes(32, 32), 64), handovers: list(handover, HANDOVERS_MAX) });

/** Whether a text is `fork`, `checkpoint` or neither: null. */
export function kindOfNotes(text) {
  if (text.startsWith(FORK)) return 'fork';
  return !text.startsWith('c2sp.org/') && text.includes(SIGNATURE) ? 'checkpoint' : null;
}

/**
 * @param {object} given
 * @param {import('./crypto.mjs').Cryptography} given.cryptography
 * @param {string} given.text
 * @param {string} given.policy
 * @param {{kind?: string, subject?: string}} given.asked  what a reader demands, which neither of these can be
 * @param {(key: string, places?: object) => string} given.t
 * @returns {Promise<import('./engine.mjs').Examined>}
 */
export async function examineNotes({ cryptography, text, policy, asked, t }) {
  const kind = kindOfNotes(text) ?? 'checkpoint';
  const started = performance.now();
  let [facts, refused] = [null, null];
  try {
    facts = await cryptography.run((crypto) => (kind === 'fork' ? ofFork : ofCheckpoint)(crypto, text, parsePolicy(crypto, policy)));
  } catch (error) {
    refused = asRefused(error);
  }
  const ms = performance.now() - started;
  const wrong = asked.kind || asked.subject ? t('asked.differs', { asked: asked.subject ?? asked.kind, got: kind }) : '';
  const steps = [...judged(kind, refused), step('asked', facts === null && !wrong ? 'open' : wrong ? 'fails' : 'holds', wrong)];
  const verdict = facts && { sentence: t(`notes.${kind}`, Object.fromEntries(facts)) };
  return { kind, verdict, holds: steps.every(({ state }) => state !== 'fails'), steps, facts: facts ?? new Map(), proved: NOTHING, lies: [], ms };
}

function ofCheckpoint(crypto, text, policy) {
  return said(checkCheckpoint(crypto, policy, text));
}

function said({ checkpoint, cosigners, lastSecond }, mark = '') {
  return new Map([
    ['origin', checkpoint.origin],
    [`size${mark}`, String(checkpoint.size)],
    [`root${mark}`, hex(checkpoint.root)],
    [`cosigners${mark}`, cosigners.join(', ')],
    [`time${mark}`, formatTime(lastSecond * 1_000n)],
  ]);
}

function ofFork(crypto, text, policy) {
  const lines = /^extra (.*)\n\n([^]*?\n\n[^]*?\n)\n([^]*)$/.exec(text.slice(FORK.length)) ?? refuse('proof', 'not a line of extra data and two notes');
  const extra = decode(forkExtra, fromBase64(lines[1], 'proof'), 'proof');
  check(extra.version === VERSION, 'proof', `a fork of version ${extra.version}`);
  const [small, large] = [lines[2], lines[3]].map((note) => checkCheckpoint(crypto, policy, note, extra.handovers));
  contradict(crypto, small.checkpoint, large.checkpoint, extra);
  return new Map([...said(small), ...said(large, '2')]);
}

/** Throw `Refused` unless two accepted checkpoints of one log cannot both be true. */
function contradict(crypto, small, large, { prefix_root: prefix, path }) {
  const name = 'contradiction';
  check(small.origin === large.origin, name, 'the notes are of two logs');
  if (small.size === large.size) {
    check(!same(small.root, large.root), name, 'the notes are of the same log');
    return;
  }
  check(small.size < large.size, name, 'the smaller log is not the first');
  check(prefix.length === 32, name, 'the notes alone contradict each other only by their times, which chainnode audit fork judges');
  checkConsistency(crypto, small.size, prefix, large.size, large.root, path);
  check(!same(prefix, small.root), name, 'the larger log begins with the smaller one');
}
