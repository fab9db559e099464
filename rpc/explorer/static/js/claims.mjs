/**
 * What a page shows of what a proof proves, by the marks in it, and where it shows something else.
 *
 * `data-claim="KIND.NAME"` marks an element that shows a field; `data-value` is the field's value, else its text is. Both
 * the value and the text that people read must be what is proved. `data-whole="KIND.NAME"` marks a place where all that is
 * there is marked, each under the label of its field. `data-rows="KIND"` marks a list, and `data-row` each entry by its place
 * in the log; `data-unproved` what no proof of the page is of. A page that lies leaves marks out: so the fields that a page of its kind shows must all be there.
 *
 * @typedef {{name: string, value: string, text?: string, element?: HTMLElement}} Claim
 * @typedef {{name: string, shown: string, proved: string, stray?: boolean, element?: HTMLElement}} Lie
 *     `shown` or `proved` may be empty; `stray` is what stands where nothing of it is proved
 */

import { squeezed } from './honest.mjs';

const SYMBOLS = /^[\u2713\u2715\u2016\u25f7\u2013\u2260?\s]*$/;

/**
 * @param {ParentNode} root
 * @param {string} kind
 * @returns {Claim[]}
 */
export function claimsOf(root, kind) {
  const marked = [...root.querySelectorAll(`[data-claim^="${kind}."]`)].filter((element) => !element.closest('[data-unproved]'));
  return marked.map((element) => {
    const text = visible(element);
    const row = element.closest('[data-row]');
    const field = element.dataset.claim.slice(kind.length + 1);
    return { name: row ? `row.${row.dataset.row}.${field}` : field, value: element.dataset.value ?? text, text, element };
  });
}

/** The text of an element as people read it: without the marks before it, which say nothing of their own. */
function visible(element) {
  const copy = element.cloneNode(true);
  for (const hidden of copy.querySelectorAll('[aria-hidden="true"]')) if (SYMBOLS.test(hidden.textContent)) hidden.remove();
  return squeezed(copy.textContent);
}

/**
 * The lists of a page: the places of their entries in the order in which they stand, and what surrounds them.
 *
 * @param {ParentNode} root
 * @param {string} kind
 * @param {{search: string}} address
 * @returns {{element: HTMLElement, places: string[], first: boolean, last: boolean} | null}
 */
export function listOf(root, kind, { search }) {
  const element = root.querySelector(`[data-rows="${kind}"]`);
  if (element === null) return null;
  const places = [...element.querySelectorAll('[data-row]')].map(({ dataset }) => dataset.row);
  const more = element.parentElement.querySelector('nav.pager a[rel="next"]') ?? root.querySelector('nav.pager a[rel="next"]');
  return { element, places, first: !new URLSearchParams(search).has('cursor'), last: more === null };
}

/** The block of which a page says that it speaks; null where it says none. */
export function heightOf(root) {
  const text = root.querySelector('.as-of a')?.textContent.replace(/[,\s]/g, '') ?? '';
  return /^\d+$/.test(text) ? BigInt(text) : null;
}

/**
 * What stands in a place where all is marked and is not: texts without a mark, and fields under another's label.
 *
 * @param {ParentNode} root
 * @param {string} kind
 * @param {Record<string, string>} words
 * @returns {Lie[]}
 */
export function strays(root, kind, words) {
  return [...root.querySelectorAll(`[data-whole^="${kind}."]`)].flatMap((whole) => {
    const name = whole.dataset.whole.slice(kind.length + 1);
    const found = [];
    for (const label of whole.querySelectorAll('dt')) {
      const expected = labelOf(label, whole, name, kind, words);
      const shown = squeezed(label.textContent);
      if (shown !== expected) found.push({ name, shown, proved: expected, element: label });
    }
    const walker = document.createTreeWalker(whole, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
      const parent = node.parentElement;
      if (squeezed(node.data) !== '' && !parent.closest('dt, [data-claim]')) found.push({ name, shown: squeezed(node.data), proved: '', stray: true, element: parent });
    }
    return found;
  });
}

/** The word for the field that stands under a label, by the mark of the first thing there. */
function labelOf(label, whole, name, kind, words) {
  const claim = label.nextElementSibling?.querySelector('[data-claim]')?.dataset.claim ?? '';
  const parts = claim.slice(kind.length + 1 + name.length + 1).split('.').filter((part) => !/^\d+$/.test(part));
  let depth = -1;
  for (let each = label.parentElement; each !== null && each !== whole; each = each.parentElement.closest('dl > div')) {
    if (whole.contains(each)) depth += 1;
  }
  const field = parts[depth] ?? '';
  return squeezed(words[`field.${field}`] ?? field);
}
