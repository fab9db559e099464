/**
 * A section of a page that says why its content can be believed: fetches the proof, verifies it, and fills in for each
 * step whether it holds. Words like "verified" are for a pinned policy alone.
 */

import { fromHex } from '../verifier/bytes.mjs';
import { valuesOf } from './body.mjs';
import { make } from './dom.mjs';
import { examine, noteOf } from './engine.mjs';
import { trustLine } from './trust.mjs';
import { fits } from './watch.mjs';

const MARKS = { holds: '\u2713', fails: '\u2717', open: '\u2013', warns: '!' };
// What the address of a page says, and the mark of a section that says it elsewhere, by kind of proof.
const SUBJECTS = {
  receipt: [/^\/event\/([0-9a-f]{64})$/, 'event'],
  status: [/^\/certificate\/([^/]+)$/, 'certificate'],
  history: [/^\/certificate\/([^/]+)$/, 'certificate'],
  completeness: [/^\/member\/([^/]+)$/, 'member'],
};
const RFC3339 = /^\d{4}-\d{2}-\d{2}T/;

/**
 * What the proof of a section must be of: by the address that the reader asked for, and only then by the section itself.
 *
 * @param {DOMStringMap} data
 * @param {{pathname: string, search: string}} address
 */
export function askedBy(data, { pathname, search }) {
  const kind = data.kind in SUBJECTS ? data.kind : 'receipt';
  const [pattern, mark] = SUBJECTS[kind];
  const match = pattern.exec(pathname);
  const subject = match ? decodeURIComponent(match[1]) : data[mark];
  const at = kind === 'status' ? new URLSearchParams(search).get('at') : null;
  return { kind, subject, at: at && RFC3339.test(at) ? at : undefined, height: at && /^\d+$/.test(at) ? at : undefined, now: kind === 'status' && !at };
}

/** What a page shows of what a kind of proof proves, by the marks in it: `data-claim="KIND.NAME"`. */
export function claimsOf(root, kind) {
  return [...root.querySelectorAll(`[data-claim^="${kind}."]`)].map((element) => ({
    name: element.dataset.claim.slice(kind.length + 1),
    value: element.dataset.value ?? element.textContent.trim(),
    element,
  }));
}

/**
 * Verify the proof of one section and show the result in it.
 *
 * @param {import('./context.mjs').Context} context
 * @param {HTMLElement} section
 * @param {ParentNode} claimed  where the page shows what the proof is of
 */
export async function verifySection(context, section, claimed) {
  const { t } = context;
  const place = make('div', { class: 'proof-result', 'data-verdict': 'working' });
  const head = section.querySelector('.verdict') ?? make('p', { role: 'status' });
  if (head.isConnected) head.replaceWith(place);
  else section.append(place);
  head.className = 'proof-head';
  head.textContent = t('head.working');
  place.append(head);
  try {
    const cryptography = await context.cryptography();
    const [trusted, proof] = await Promise.all([context.trusted(), context.node.text(section.dataset.proofUrl)]);
    const asked = askedBy(section.dataset, globalThis.location);
    const claims = claimsOf(claimed, asked.kind);
    const found = await examine({ cryptography, proof, policy: trusted.text, asked, claims, t });
    const note = noteOf(proof);
    if (found.verdict !== null && note !== null) found.steps.push(await fits(context, note));
    found.holds = found.steps.every(({ state }) => state !== 'fails');
    markLies(claims, found.lies, t);
    fillSteps(section, place, found.steps, t);
    showResult(context, place, head, found, trusted, cryptography);
  } catch (error) {
    place.dataset.verdict = 'unavailable';
    const what = error instanceof Error ? error.message : String(error);
    head.textContent = t(error.step === 'crypto' ? 'head.off' : 'head.unavailable', { what });
  }
}

/** Write what is proved beside what the page shows instead of it. */
function markLies(claims, lies, t) {
  for (const lie of lies) {
    for (const { element } of claims.filter(({ name, value }) => name === lie.name && value === lie.shown)) {
      element.classList.add('lie');
      element.append(' ', make('strong', { class: 'lie-proved' }, t('shown.proved', { proved: lie.proved })));
    }
  }
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

export function factsShown(found, t) {
  const list = make('dl', { class: 'facts' });
  for (const [name, value] of found.facts) list.append(make('dt', {}, name), make('dd', { 'data-proved': name }, value));
  const values = found.facts.has('body_hex') ? valuesOf(fromHex(found.facts.get('body_hex'))) : null;
  return [
    make('p', { class: 'sentence', lang: 'en' }, found.verdict.sentence),
    make(
      'details',
      {},
      make('summary', {}, t('facts')),
      list,
      values && make('p', {}, t('facts.body')),
      values && make('pre', { tabindex: 0, class: 'body-values' }, values.join('\n')),
    ),
  ];
}
