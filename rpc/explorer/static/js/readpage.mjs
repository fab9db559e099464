/** Reads what a page shows, and marks in it what was found: what is proved, and each lie beside the truth. */

import { claimsOf, heightOf, listOf, strays } from './claims.mjs';
import { make } from './dom.mjs';

/**
 * @param {Document | ParentNode} root
 * @param {string} kind
 * @param {Record<string, string>} words
 * @param {{search: string}} address
 * @returns {import('./shown.mjs').Page}
 */
export function readPage(root, kind, words, address) {
  return {
    claims: claimsOf(root, kind),
    list: listOf(root, kind, address),
    strays: strays(root, kind, words),
    asOf: heightOf(root),
    words,
    whole: true,
  };
}

/**
 * Mark what a page shows: where it is proved, and what is proved instead.
 *
 * @param {import('./shown.mjs').Page} page
 * @param {import('./engine.mjs').Examined} found
 * @param {(key: string, places?: object) => string} t
 */
export function markPage(page, { lies, facts, proved, verdict, part }, t) {
  if (verdict === null) return;
  if (part && page.list) (page.list.element.closest('.scroll') ?? page.list.element).after(make('p', { class: 'fine part' }, t('shown.part', part)));
  for (const { name, element, shown, proved: truth, place } of lies) {
    const where = element ?? (place && page.list?.element.querySelector(`[data-row="${CSS.escape(place)}"]`));
    if (!where) continue;
    where.classList.add('lie');
    const said = place ? t(`shown.list.${shown}`, { place }) : t(truth === '' ? 'shown.nothing' : 'shown.proved', { proved: truth, name });
    const holder = where.tagName === 'TR' ? where.lastElementChild : where;
    holder.append(' ', make('strong', { class: 'lie-proved' }, said));
  }
  const rows = new Set(proved.rows.map((row) => row.place));
  for (const { name, element } of page.claims) {
    const row = /^row\.([^.]*)\./.exec(name);
    const known = row ? rows.has(row[1]) : facts.has(name) || proved.facts.has(name);
    if (known && !element.classList.contains('lie')) element.classList.add('proved');
  }
  for (const item of document.querySelectorAll('[data-unproved]:not([data-told])')) {
    item.dataset.told = '';
    item.append(make('p', { class: 'mind fine' }, t('shown.unproved')));
  }
}
