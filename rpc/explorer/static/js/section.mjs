/**
 * A section of a page that says why its content can be believed: fetches the proof, verifies it, and fills in for each
 * step whether it holds. Words like "verified" are for a pinned policy alone.
 */

import { fromHex } from '../verifier/bytes.mjs';
import { check } from '../verifier/refused.mjs';
import { examineBlock } from './blocks.mjs';
import { valuesOf } from './body.mjs';
import { make } from './dom.mjs';
import { examine, noteOf } from './engine.mjs';
import { examinePayment } from './payments.mjs';
import { markPage, readPage } from './readpage.mjs';
import { trustLine } from './trust.mjs';
import { fits } from './watch.mjs';

const MARKS = { holds: '\u2713', fails: '\u2717', open: '\u2013', warns: '!' };
/** What a page of an address has to prove, by its kinds of proof; the first part of the address names its subject. */
const FAMILIES = [
  [/^\/event\/([0-9a-f]{64})$/, ['receipt']],
  [/^\/certificate\/([^/]+)$/, ['status', 'history']],
  [/^\/member\/([^/]+)$/, ['completeness']],
  [/^\/block\/(\d+|[0-9a-f]{64})$/, ['block']],
  [/^\/payment\/([^/]+)$/, ['payment']],
];
// The mark of a section on a page of another address, by kind.
const MARKED = { receipt: 'event', status: 'certificate', history: 'certificate', completeness: 'member', block: 'block', payment: 'payment' };
const RECEIPTS_MAX = 50;
const EVENT_ID = /^[0-9a-f]{64}$/;
const DAY = /^\d{4}-\d{2}-\d{2}$/;
const RFC3339 = /^\d{4}-\d{2}-\d{2}T/;

/** The kinds of proof that belong to an address; none for addresses that have none. */
export function kindsOf(pathname) {
  return FAMILIES.find(([pattern]) => pattern.test(pathname))?.[1] ?? [];
}

/**
 * What the proof of a section must be of: by the address that the reader asked for, and only then by the section itself.
 *
 * @param {DOMStringMap} data
 * @param {{pathname: string, search: string}} address
 */
export function askedBy(data, { pathname, search }) {
  const family = FAMILIES.find(([pattern]) => pattern.test(pathname));
  const said = Object.hasOwn(MARKED, data.kind ?? '') ? data.kind : 'receipt';
  const kind = family && !family[1].includes(said) ? family[1][0] : said;
  const subject = family ? decodeURIComponent(family[0].exec(pathname)[1]) : data[MARKED[kind]];
  const wanted = kind === 'status' ? new URLSearchParams(search).get('at')?.trim() : null;
  const at = wanted && DAY.test(wanted) ? `${wanted}T00:00:00Z` : wanted;
  return { kind, subject, at: at && RFC3339.test(at) ? at : undefined, height: at && /^\d+$/.test(at) ? at : undefined, now: kind === 'status' && !at };
}

/**
 * Verify the proof of one section and show the result in it.
 *
 * @param {import('./context.mjs').Context} context
 * @param {HTMLElement} section
 * @param {ParentNode} root  where the page shows what the proof is of
 */
export async function verifySection(context, section, root) {
  const { t } = context;
  const place = make('div', { class: 'proof-result', 'data-verdict': 'working' });
  const head = section.querySelector('.verdict') ?? make('p', { role: 'status' });
  if (head.isConnected) head.replaceWith(place);
  else section.append(place);
  head.className = 'proof-head';
  head.textContent = t('head.working');
  place.append(head);
  try {
    const asked = askedBy(section.dataset, globalThis.location);
    const page = readPage(root, asked.kind, await context.words(), globalThis.location);
    const [cryptography, trusted] = [await context.cryptography(), await context.trusted()];
    const { found, notes } = await (EXAMINERS[asked.kind] ?? examineProof)(context, { section, asked, page, cryptography, policy: trusted.text });
    if (found.verdict !== null && notes.length) found.steps.push(await allFit(context, notes));
    found.holds = found.steps.every(({ state }) => state !== 'fails');
    markPage(page, found, t);
    fillSteps(section, place, found.steps, t);
    showResult(context, place, head, found, trusted, cryptography);
  } catch (error) {
    place.dataset.verdict = 'unavailable';
    const what = error instanceof Error ? error.message : String(error);
    head.textContent = t(error.step === 'crypto' ? 'head.off' : 'head.unavailable', { what });
  }
}

const EXAMINERS = { block: blockOfPage, payment: paymentOfPage };

async function examineProof(context, { section, asked, page, cryptography, policy }) {
  const proof = await context.node.text(section.dataset.proofUrl);
  const found = await examine({ cryptography, proof, policy, asked, page, t: context.t });
  return { found, notes: [noteOf(proof)].filter((note) => note !== null) };
}

async function blockOfPage(context, { asked, page, cryptography, policy }) {
  const { node, t } = context;
  const of = (name) => (/^\d+$/.test(name) ? { height: Number(name) } : { hash: name });
  const block = await node.call('ledger_getBlock', of(asked.subject));
  const next = block?.header?.height === 0 ? await node.call('ledger_getBlock', { height: 1 }) : null;
  const handovers = await context.handovers();
  return { found: await examineBlock({ cryptography, policy, handovers, block, next, asked, page, t }), notes: [] };
}

async function paymentOfPage(context, { asked, page, cryptography, policy }) {
  const { node, t } = context;
  const rows = [...(page.list?.element.querySelectorAll('[data-row][data-event]') ?? [])].slice(0, RECEIPTS_MAX);
  const receipts = [];
  for (const { dataset } of rows) {
    check(EVENT_ID.test(dataset.event), 'page', 'no id of an event');
    receipts.push({ place: dataset.row, id: dataset.event, proof: await node.text(`/events/${dataset.event}.tlog-proof`) });
  }
  const found = await examinePayment({ cryptography, policy, receipts, name: asked.subject, page, t });
  return { found, notes: receipts.map(({ proof }) => noteOf(proof)).filter((note) => note !== null) };
}

/** How the checkpoints of all proofs of a page fit: the first that does not, or that all do. */
async function allFit(context, notes) {
  let last = null;
  for (const note of new Set(notes)) {
    last = await fits(context, note);
    if (last.state === 'fails') return last;
  }
  return last;
}

/** Put a mark and the reason to each step, in the page's own list where it has the step. */
export function fillSteps(section, place, steps, t) {
  let list = section.querySelector('ol.steps');
  for (const { name, state, what } of steps) {
    let item = [...section.querySelectorAll('li[data-step]')].find(({ dataset }) => dataset.step === name);
    if (!item) {
      if (!list) {
        list = make('ol', { class: 'steps' });
        place.before(list);
      }
      const [mark, said] = [make('span', { class: 'state', 'aria-hidden': 'true' }), make('span', { class: 'said' })];
      item = make('li', { 'data-step': name }, mark, ' ', t(`step.${name}`), ' ', said);
      list.append(item);
    }
    item.dataset.state = state;
    item.querySelector('.state').textContent = MARKS[state];
    item.querySelector('.said').textContent = t(`state.${state}`);
    item.querySelector('.step-what')?.remove();
    if (what) item.append(make('p', { class: 'step-what' }, what));
  }
}

/** The line that says how it ended: only a policy that somebody else vouches for makes a proof verified. */
function showResult(context, place, head, found, trusted, cryptography) {
  const { t } = context;
  const verdict = !found.holds ? 'refused' : trusted.pin === null ? 'provisional' : 'verified';
  place.dataset.verdict = verdict;
  place.dataset.ms = found.ms.toFixed(1);
  place.dataset.crypto = cryptography.name;
  const how = t('how', { ms: found.ms.toFixed(0), crypto: t(`crypto.${cryptography.name}`) });
  head.textContent = t(`head.${verdict}`);
  place.append(
    trustLine(context, trusted),
    ...(found.verdict === null ? [] : factsShown(found, t)),
    make('p', { class: 'fine' }, `${how}. ${t('program')}`),
  );
}

/** What is proved, as a list of names and values; the body of an event by the names of its fields. */
export function factsShown(found, t) {
  const list = make('dl', { class: 'facts' });
  for (const [name, value] of found.facts) if (name !== 'body_hex') list.append(make('dt', {}, name), make('dd', { 'data-proved': name }, value));
  for (const [name, value] of found.proved.facts) {
    if (/^(?:body|record)\./.test(name)) list.append(make('dt', {}, name), make('dd', { 'data-proved': name }, value));
  }
  const raw = found.proved.facts.get('body.raw');
  const values = raw === undefined ? null : valuesOf(fromHex(raw));
  return [
    make('p', { class: 'sentence', lang: 'en' }, found.verdict.sentence),
    make('details', {}, make('summary', {}, t('facts')), list, values && make('p', {}, t('facts.body')), values && make('pre', { tabindex: 0, class: 'body-values' }, values.join('\n'))),
  ];
}
