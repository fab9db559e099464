/** Holds what a page shows against what is proved. Nothing here looks at a page: marks are read in claims.mjs. */

import { saysValue, writtenOut } from './honest.mjs';
import { UNSHOWN } from './proved.mjs';
import { step } from './steps.mjs';

/** What a page of a kind shows in any case. */
const ALWAYS = {
  receipt: ['kind', 'outcome', 'member', 'time', 'height', 'event_id', 'log_index', 'source', 'reference', 'leaf', 'rule', 'detail', 'kind_number', 'schema', 'index', 'expires', 'batch_hash'],
  status: ['number', 'status', 'valid', 'since', 'until'],
  history: [],
  completeness: ['member'],
  block: ['hash', 'log_index', 'header_leaf'],
};
/** And what it shows of each entry of its list. */
const OF_ROWS = {
  history: ['kind', 'outcome', 'member', 'time', 'height', 'body.reason'],
  completeness: ['id', 'kind', 'about', 'member', 'outcome', 'height'],
  payment: ['body.side', 'body.status', 'member', 'outcome', 'time', 'height'],
};
/** And of lists in a row's body each entry. */
const LISTS_OF_ROWS = { history: /^body\.(?:scope|removes|findings)\.\d+$/ };
// Of a body everything is shown, what is empty too.
const EMPTY_TOO = new Set(['receipt']);
const WHOLE = { receipt: /^body(?:\.|$)/, history: /^record\./, block: /^(?:header|signers|batches)\./, payment: /^(?:together$|(?:sides|hops|agree|said)\.)/ };

/**
 * The names of what a page of a kind has to show of these facts: what is proved to be empty may be left out.
 *
 * @param {string} kind
 * @param {Map<string, string>} facts
 * @returns {string[]}
 */
export function neededOf(kind, facts) {
  const needed = (name, value) => (WHOLE[kind]?.test(name) ? !UNSHOWN.test(name) && (value !== '' || EMPTY_TOO.has(kind)) : value !== '' && ALWAYS[kind]?.includes(name));
  const names = [...facts].filter(([name, value]) => needed(name, value)).map(([name]) => name);
  if (facts.get('exists') === 'false') names.push('exists');
  return facts.get('revocation_due') === 'true' ? [...names, 'revocation_due'] : names;
}

/**
 * What a page shows otherwise than it is proved: other values, other texts, and what it leaves out.
 *
 * @param {object} given
 * @param {Map<string, string>} given.facts
 * @param {import('./proved.mjs').Row[]} [given.rows]
 * @param {import('./claims.mjs').Claim[]} given.claims
 * @param {string[]} [given.needed]
 * @param {readonly string[]} [given.known]  names that would be facts if they were not empty
 * @param {Record<string, string> | null} [given.words]  null: texts are not looked at
 * @returns {import('./claims.mjs').Lie[]}
 */
export function contradictions({ facts, rows = [], claims, needed = [], known = [], words = null }) {
  const byPlace = new Map(rows.map((row) => [row.place, row.facts]));
  const lies = [];
  for (const { name, value, text, element } of claims) {
    const bare = provedFor(name, facts, byPlace, known);
    if (bare === undefined) continue;
    const proved = writtenOut(bare);
    if (value !== proved) lies.push({ name, shown: value, proved, element });
    else if (words !== null && text !== undefined && !saysValue(text, proved, name, words)) lies.push({ name, shown: text, proved, element });
  }
  const marked = new Set(claims.map(({ name }) => name));
  for (const name of needed) if (!marked.has(name)) lies.push({ name, shown: '', proved: facts.get(name) });
  return lies;
}

/** What is proved of a name; empty text where it is proved to be nothing, undefined where nothing is known of it. */
function provedFor(name, facts, byPlace, known) {
  const inRow = /^row\.([^.]*)\.(.+)$/.exec(name);
  if (inRow) return byPlace.get(inRow[1])?.get(inRow[2]);
  return facts.get(name) ?? (known.includes(name) ? '' : undefined);
}

/**
 * Whether the entries of a list are those that are proved, all of them, in their order; what was wrong, by its key.
 *
 * Of a list that goes on, some of the entries next to each other. What is newer than the page is none of its business, and
 * what is newer than the proof is not proved: `later` counts these entries.
 *
 * @param {import('./proved.mjs').Row[]} rows  as they are proved, in the order in which the page lists them
 * @param {{places: string[], first: boolean, last: boolean}} list
 * @param {(place: string) => bigint | null} heightAt  that the page shows for an entry
 * @param {{asOf: bigint | null, to: bigint}} span  the block that the page speaks for, the last one that is proved
 * @returns {{wrong: {key: string, place: string}[], later: number, part: {from: number, to: number, of: number} | null}}
 *     `part`: which of the entries these are, where they are not all, so that nobody is led past some by a link
 */
export function compareList(rows, { places, first, last }, heightAt, { asOf, to }) {
  const expected = rows.filter(({ height }) => asOf === null || height <= asOf).map(({ place }) => place);
  const at = new Map(expected.map((place, i) => [place, i]));
  const later = places.filter((place) => !at.has(place) && (heightAt(place) ?? 0n) > to);
  const shown = places.filter((place) => !later.includes(place));
  const wrong = [];
  const twice = shown.find((place, i) => shown.indexOf(place) !== i);
  if (twice !== undefined) wrong.push({ key: 'twice', place: twice });
  for (const place of shown) if (!at.has(place)) wrong.push({ key: 'extra', place });
  const known = shown.filter((place) => at.has(place)).map((place) => at.get(place));
  const begin = first ? 0 : Math.min(...known);
  const end = last ? expected.length : Math.max(...known, begin - 1) + 1;
  for (let i = begin; i < end; i++) if (!known.includes(i)) wrong.push({ key: 'missing', place: expected[i] });
  const turned = known.findIndex((index, i) => i > 0 && index < known[i - 1]);
  if (turned > 0) wrong.push({ key: 'order', place: expected[known[turned]] });
  const part = first && last ? null : { from: begin + 1, to: Math.max(end, begin), of: expected.length };
  return { wrong, later: later.length, part };
}

const TOLD_MAX = 5;

/**
 * What a page shows, read from it before anything is judged; `list` is null on pages without one.
 *
 * @typedef {object} Page
 * @property {import('./claims.mjs').Claim[]} claims
 * @property {{places: string[], first: boolean, last: boolean, element?: HTMLElement} | null} list
 * @property {import('./claims.mjs').Lie[]} strays
 * @property {bigint | null} asOf
 * @property {Record<string, string> | null} words
 * @property {boolean} whole  a page of its kind, which has to show what pages of that kind show
 */

/**
 * The step `shown`: whether a page shows what is proved, and each lie that it tells.
 *
 * @param {string} kind
 * @param {import('./proved.mjs').Proved} proved
 * @param {readonly string[]} known
 * @param {Page} page
 * @param {(key: string, places?: object) => string} t
 * @returns {{step: import('./engine.mjs').Step, lies: import('./claims.mjs').Lie[]}}
 */
export function judgePage(kind, { facts, rows, to }, known, { claims, list, strays, asOf, words, whole }, t) {
  const needed = whole ? neededOf(kind, facts) : [];
  const inRows = new Map((whole && list !== null ? list.places : []).flatMap((place) => {
    const row = rows.find((each) => each.place === place);
    const listed = [...(row?.facts.keys() ?? [])].filter((name) => LISTS_OF_ROWS[kind]?.test(name));
    return (row ? [...(OF_ROWS[kind] ?? []), ...listed] : []).filter((field) => row.facts.get(field)).map((field) => [`row.${place}.${field}`, row.facts.get(field)]);
  }));
  const lies = [...contradictions({ facts: new Map([...facts, ...inRows]), rows, claims, needed: [...needed, ...inRows.keys()], known, words }), ...strays];
  const said = lies.map((lie) => t(`shown.${sentenceOf(lie)}`, lie));
  let [later, part] = [0, null];
  if (to !== null && whole) {
    if (list === null) said.push(t('shown.nolist'));
    else {
      const heightAt = (place) => heightOf(claims.find(({ name }) => name === `row.${place}.height`)?.value);
      const ordered = NEWEST_FIRST.has(kind) ? [...rows].reverse() : rows;
      const found = compareList(ordered, list, heightAt, { asOf, to });
      ({ later, part } = found);
      for (const { key, place } of found.wrong) {
        said.push(t(`shown.list.${key}`, { place }));
        lies.push({ name: `row.${place}`, shown: key, proved: '', place });
      }
    }
  }
  const more = said.length > TOLD_MAX ? ` (+${said.length - TOLD_MAX})` : '';
  if (said.length) return { step: step('shown', 'fails', said.slice(0, TOLD_MAX).join('; ') + more), lies };
  const which = part === null ? '' : ` ${t('shown.part', part)}`;
  if (later) return { step: step('shown', 'warns', t('shown.later', { count: later }) + which), lies, part };
  return { step: step('shown', 'holds', t('shown.all', { count: claims.length }) + which), lies, part };
}

function sentenceOf({ shown, proved, stray }) {
  if (stray) return 'stray';
  if (shown === '') return 'missing';
  return proved === '' ? 'empty' : 'differs';
}

const NEWEST_FIRST = new Set(['completeness']);

function heightOf(text) {
  return /^\d{1,19}$/.test(text ?? '') ? BigInt(text) : null;
}
