/**
 * Examines a payment: the receipt of each statement that a page lists, and what the statements say together.
 *
 * Receipts prove what was said, by whom and when; that nobody said more is proved for each member by its completeness.
 */

import { decode } from '../verifier/msgpack.mjs';
import { pagesOf, parseTlogProof, readEvent } from '../verifier/proofs.mjs';
import { receipt } from '../verifier/records.mjs';
import { sha256 } from '../verifier/sha256.mjs';
import { bodyOf, flat } from './bodies.mjs';
import { examine } from './engine.mjs';
import { judgePage } from './shown.mjs';
import { step } from './steps.mjs';

const COMPARED = ['amount', 'currency', 'settlement_date', 'uetr'];
const ROLES = [
  'debtor-agent', 'instructing-agent', 'acquirer', 'intermediary-1', 'intermediary-2', 'intermediary-3', 'instructed-agent', 'issuer',
  'creditor-agent',
];
const NO_EVENT = { sha256, verifyEd25519: () => false };

/**
 * @param {object} given
 * @param {import('./crypto.mjs').Cryptography} given.cryptography
 * @param {string} given.policy
 * @param {{place: string, id: string, proof: string}[]} given.receipts  of the statements of the page
 * @param {string} given.name  of the payment: its UETR or its pair key
 * @param {import('./shown.mjs').Page | null} given.page
 * @param {(key: string, places?: object) => string} given.t
 * @returns {Promise<import('./engine.mjs').Examined>}
 */
export async function examinePayment({ cryptography, policy, receipts, name, page, t }) {
  const statements = [];
  let [failure, ms] = ['', 0];
  for (const { place, id, proof } of receipts) {
    const found = await examine({ cryptography, proof, policy, asked: { kind: 'receipt', subject: id }, t });
    ms += found.ms;
    const failed = found.steps.find(({ state }) => state === 'fails');
    if (failed) failure ||= `${id.slice(0, 12)}\u2026: ${failed.name}: ${failed.what}`;
    else statements.push(statementOf(place, found, proof));
  }
  failure ||= receipts.length ? '' : t('payment.none');
  const steps = [step('receipts', failure ? 'fails' : 'holds', failure || t('payment.receipts', { count: receipts.length }))];
  const other = statements.find(({ body }) => body.uetr !== name && body.pair_key !== name);
  const asked = other ? t('asked.differs', { asked: name, got: other.body.uetr ?? other.body.pair_key ?? other.id }) : '';
  steps.push(step('asked', failure ? 'open' : asked ? 'fails' : 'holds', asked));
  const rows = statements.map(({ place, height, facts }) => ({ place, height, facts }));
  const proved = { facts: together(statements), rows, from: null, to: failure ? null : rows[rows.length - 1].height };
  const judgement = failure || page === null ? null : judgePage('payment', proved, [], page, t);
  if (page !== null) steps.push(judgement?.step ?? step('shown', 'open'));
  const verdict = failure ? null : { sentence: t('payment.sentence', { count: statements.length, name }) };
  const holds = steps.every(({ state }) => state !== 'fails');
  return { kind: 'payment', verdict, holds, steps, facts: failure ? new Map() : proved.facts, proved, lies: judgement?.lies ?? [], ms };
}

function statementOf(place, { facts }, proof) {
  const { event } = readEvent(NO_EVENT, decode(receipt, parseTlogProof(pagesOf(proof)[0]).extra, 'extra').event);
  const body = bodyOf(event);
  const wanted = ['member', 'outcome', 'height', 'time', 'kind'].map((name) => [name, facts.get(name)]);
  const said = new Map([...wanted, ['id', facts.get('event_id')], ...flat(body, 'body')]);
  // The page names the place; the receipt proves it.
  return { place: facts.get('log_index') === place ? place : `not ${place}`, id: facts.get('event_id'), height: BigInt(facts.get('height')), member: event.member, body, facts: said, applied: facts.get('outcome') === 'applied' };
}

/** What the newest statements of each side say together, by the names under which the page marks it. */
export function together(statements) {
  const known = statements.filter(({ applied, body }) => applied && !('raw' in body));
  const newest = new Map();
  for (const each of known) newest.set(JSON.stringify([each.body.side, each.member, each.body.pair_key || '']), each);
  const sides = [...newest.values()];
  const facts = new Map();
  sides.forEach(({ body, member, id, facts: said }, i) => {
    const { side, status, reason, message_type: type, channel } = body;
    flat({ side, member, status, reason, message_type: type, channel, time: said.get('time'), id }, `sides.${i}`, facts);
  });
  const keys = sides.map(({ body }) => body.pair_key || '');
  for (const name of COMPARED) compare(facts, name, keys, sides.map(({ body }) => body[name]));
  const tokens = [...new Set(sides.flatMap(({ body }) => Object.keys(body.tokens)))].sort();
  for (const name of tokens) compare(facts, `tokens.${name}`, keys, sides.map(({ body }) => body.tokens[name]));
  const judged = [...facts].filter(([name]) => name.startsWith('agree.')).map(([, agree]) => agree);
  const differs = judged.includes('different');
  if (sides.length) facts.set('together', differs ? 'different' : judged.includes('same') ? 'same' : 'one_side');
  hopsOf(known).forEach((hop, i) => flat(hop, `hops.${i}`, facts));
  return facts;
}

/** Whether the sides that say something of a field under one pair key say the same, and what each of them says. */
function compare(facts, name, keys, values) {
  const given = new Map();
  values.forEach((value, i) => value && given.set(keys[i], [...(given.get(keys[i]) ?? []), value]));
  if (!given.size) return;
  const several = [...given.values()].filter((each) => each.length > 1);
  const same = several.every((each) => new Set(each).size === 1);
  facts.set(`agree.${name}`, !several.length ? 'one_side' : same ? 'same' : 'different');
  values.forEach((value, i) => facts.set(`said.${name}.${i}`, value || ''));
}

function hopsOf(statements) {
  const found = new Map();
  for (const { member, body } of statements) {
    for (const { role, scheme, code } of body.agents) {
      const key = JSON.stringify([role, scheme, code]);
      if (!found.has(key)) found.set(key, { role, scheme, code, said: [] });
      const { said } = found.get(key);
      if (!said.includes(member)) said.push(member);
    }
  }
  const rank = ({ role }) => (ROLES.includes(role) ? ROLES.indexOf(role) : ROLES.length);
  return [...found.values()].sort((a, b) => rank(a) - rank(b));
}
