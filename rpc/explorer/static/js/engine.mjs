/**
 * Examines a proof: runs the verifier, and adds what it cannot know: what was asked, what the page shows, and the time.
 *
 * @typedef {{name: string, state: 'holds' | 'fails' | 'open' | 'warns', what: string}} Step
 * @typedef {object} Examined
 * @property {string} kind
 * @property {any} verdict  null where it was refused
 * @property {boolean} holds  no step failed
 * @property {Step[]} steps
 * @property {Map<string, string>} facts  of the verdict
 * @property {import('./proved.mjs').Proved} proved  and all else that its bytes say
 * @property {import('./claims.mjs').Lie[]} lies  of the page
 * @property {number} ms  what verifying took
 */

import { pagesOf, parseTlogProof } from '../verifier/proofs.mjs';
import { parseTime } from '../verifier/times.mjs';
import { kindOf, verify } from '../verifier/verify.mjs';
import { factsOf, namesOf } from './facts.mjs';
import { NOTHING, provedBy } from './proved.mjs';
import { judgePage } from './shown.mjs';
import { asRefused, judged, OF_ASKED, step } from './steps.mjs';

const PROOF_MAX = 64 << 20;
/** Validators cosign at least each minute; what is older than this does not speak for now. */
export const FRESH_MS = 180_000;

/** The fact that names what a proof is of, by kind. */
const SUBJECT = { receipt: 'event_id', status: 'number', history: 'number', completeness: 'member' };

/**
 * @param {object} given
 * @param {import('./crypto.mjs').Cryptography} given.cryptography
 * @param {string} given.proof
 * @param {string} given.policy
 * @param {{kind?: string, subject?: string, at?: string, height?: string, now?: boolean}} given.asked
 *     which proof it must be; `now`: of a state at the present time
 * @param {import('./shown.mjs').Page | null} [given.page]  what the page shows
 * @param {bigint} [given.nowMs]
 * @param {(key: string, places?: object) => string} given.t
 * @returns {Promise<Examined>}
 */
export async function examine({ cryptography, proof, policy, asked, page = null, nowMs = BigInt(Date.now()), t }) {
  const options = optionsOf(asked);
  let [verdict, refused] = [null, null];
  const started = performance.now();
  try {
    verdict = await cryptography.run((crypto) => verify(proof, policy, { ...options, crypto }));
  } catch (error) {
    refused = asRefused(error);
  }
  const ms = performance.now() - started;
  const kind = kindIn(proof) ?? asked.kind ?? 'receipt';
  const facts = verdict === null ? new Map() : factsOf(kind, verdict);
  const steps = [...judged(kind, refused)];
  const ofAsked = refused && OF_ASKED.has(refused.step) ? refused.what : askedWrongly(kind, facts, asked, t);
  steps.push(step('asked', verdict === null && !ofAsked ? 'open' : ofAsked ? 'fails' : 'holds', ofAsked));
  const proved = verdict === null ? NOTHING : provedBy(kind, proof, verdict);
  const judgement = verdict === null || page === null ? null : judgePage(kind, { ...proved, facts: new Map([...facts, ...proved.facts]) }, namesOf(kind), page, t);
  if (page !== null) steps.push(judgement === null ? step('shown', 'open') : judgement.step);
  if (asked.now && verdict !== null) steps.push(freshness(verdict, nowMs, t));
  return { kind, verdict, holds: steps.every(({ state }) => state !== 'fails'), steps, facts, proved, lies: judgement?.lies ?? [], part: judgement?.part ?? null, ms };
}

/** The newest signed note of a proof, or null where it cannot be read. */
export function noteOf(proof) {
  try {
    return parseTlogProof(pagesOf(proof).pop(), PROOF_MAX).note;
  } catch {
    return null;
  }
}

function kindIn(proof) {
  try {
    return kindOf(proof);
  } catch {
    return null;
  }
}

/** What the verifier itself is to demand. */
function optionsOf({ kind, subject, at }) {
  if (kind === 'completeness') return { member: subject };
  if (kind === 'status' || kind === 'history') return { certificate: subject, ...(at ? { at } : {}) };
  return {};
}

function askedWrongly(kind, facts, asked, t) {
  if (asked.kind && kind !== asked.kind) return t('asked.differs', { asked: asked.kind, got: kind });
  for (const [wanted, got] of [[asked.subject, facts.get(SUBJECT[kind])], [asked.height, facts.get('height')]]) {
    if (wanted && got !== undefined && got !== wanted) return t('asked.differs', { asked: wanted, got });
  }
  return '';
}

function freshness(verdict, nowMs, t) {
  const until = verdict.proved_until ?? verdict.time;
  const age = nowMs - parseTime(until);
  if (age <= BigInt(FRESH_MS)) return step('fresh', 'holds', '');
  return step('fresh', 'warns', t('fresh.old', { until, age: ageText(age) }));
}

function ageText(ms) {
  const minutes = ms / 60_000n;
  return minutes < 120n ? `${minutes} min` : `${minutes / 60n} h`;
}
