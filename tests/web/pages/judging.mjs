// Judges pages that were read elsewhere, and tells lies in each value that they mark: one JSON in, one out.

import './hooks.mjs';
import { readFileSync } from 'node:fs';

import { nodeCrypto } from '../../../web/verifier/adapters/node.mjs';

const js = '../../../rpc/explorer/static/js/';
const { ofNoble } = await import(`${js}crypto.mjs`);
const { examine } = await import(`${js}engine.mjs`);
const { examineBlock } = await import(`${js}blocks.mjs`);
const { examinePayment } = await import(`${js}payments.mjs`);
const { judgePage } = await import(`${js}shown.mjs`);
const { namesOf } = await import(`${js}facts.mjs`);
const { textsOf } = await import(`${js}texts.mjs`);

const cryptography = ofNoble(nodeCrypto);
const t = textsOf('en');

async function examined({ kind, subject, at, proof, policy, block, next, receipts }, page) {
  const asked = { kind, subject, at };
  if (kind === 'block') return examineBlock({ cryptography, policy, handovers: [], block, next, asked, page, t });
  if (kind === 'payment') return examinePayment({ cryptography, policy, receipts, name: subject, page, t });
  return examine({ cryptography, proof, policy, asked, page, t });
}

/** Each lie about a page as (what it is, the page that tells it). */
function* liesAbout(page) {
  for (const [i, claim] of page.claims.entries()) {
    const told = (changed) => ({ ...page, claims: page.claims.map((each, j) => (i === j ? { ...claim, ...changed } : each)) });
    const other = claim.value === '' ? 'made up' : `${claim.value}1`;
    yield [`other value: ${claim.name}`, told({ value: other, text: other })];
    yield [`other text: ${claim.name}`, told({ text: `${claim.text} or so` })];
  }
  for (const name of new Set(page.claims.map((each) => each.name))) {
    yield [`left out: ${name}`, { ...page, claims: page.claims.filter((each) => each.name !== name) }];
  }
  const { list } = page;
  if (!list?.places.length) return;
  const [first, ...rest] = list.places;
  yield ['list: first left out', { ...page, list: { ...list, places: rest } }];
  yield ['list: last left out', { ...page, list: { ...list, places: list.places.slice(0, -1) } }];
  yield ['list: one twice', { ...page, list: { ...list, places: [first, ...list.places] } }];
  yield ['list: an extra one', { ...page, list: { ...list, places: [...list.places, '999999'] } }];
  if (rest.length) yield ['list: turned round', { ...page, list: { ...list, places: list.places.toReversed() } }];
  yield ['list: none', { ...page, list: null }];
}

const judged = [];
for (const given of JSON.parse(readFileSync(0, 'utf8'))) {
  const page = { ...given.page, asOf: given.page.asOf === null ? null : BigInt(given.page.asOf), strays: [], whole: true };
  const found = await examined(given, page);
  const shown = found.steps.find(({ name }) => name === 'shown');
  const proved = { ...found.proved, facts: new Map([...found.facts, ...found.proved.facts]) };
  const unnoticed = [];
  let lies = 0;
  for (const [what, told] of liesAbout(page)) {
    lies += 1;
    if (judgePage(found.kind, proved, namesOf(found.kind), told, t).step.state !== 'fails') unnoticed.push(what);
  }
  judged.push({ holds: found.holds, failed: found.steps.filter(({ state }) => state === 'fails'), shown, lies, unnoticed });
}
console.log(JSON.stringify(judged));
