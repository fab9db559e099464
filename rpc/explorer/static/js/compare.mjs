/** Holds other nodes' checkpoints against this node's: a second answer to the question whether there is one history. */

import { raise } from './alarm.mjs';
import { relate } from './checkpoints.mjs';
import { labelled, make, textOfFile } from './dom.mjs';
import { Node } from './node.mjs';

const NOTE_MAX = 65_536;
const SOURCES_MAX = 32;

/** @param {import('./context.mjs').Context} context */
export function comparison(context) {
  const { t } = context;
  const urls = make('textarea', { rows: 3, name: 'nodes', spellcheck: 'false', autocomplete: 'off' });
  const files = make('input', { type: 'file', multiple: true, name: 'checkpoints' });
  const place = make('div', { class: 'compared', 'aria-live': 'polite' });
  const go = async (event) => {
    event.preventDefault();
    const sources = [
      ...urls.value.split(/\s+/).filter((url) => url !== '').map((url) => ({ name: url, note: () => noteOfNode(url) })),
      ...[...files.files].map((file) => ({ name: file.name, note: () => textOfFile(file, NOTE_MAX) })),
    ];
    place.replaceChildren(await compared(context, sources.slice(0, SOURCES_MAX)));
  };
  return make(
    'form',
    { class: 'compare', onsubmit: go },
    make('h2', {}, t('compare.title')),
    make('p', {}, t('compare.about')),
    labelled(t('compare.urls'), urls),
    labelled(t('compare.files'), files),
    make('button', { type: 'submit' }, t('compare.go')),
    place,
  );
}

class NoAddress extends Error {}

async function noteOfNode(url) {
  let parsed;
  try {
    parsed = new URL(url);
  } catch {
    throw new NoAddress();
  }
  if (!['http:', 'https:'].includes(parsed.protocol)) throw new NoAddress();
  return new Node(parsed.origin).text('/checkpoint');
}

async function compared(context, sources) {
  const { t, node, trusted, cryptography } = context;
  const { text, pin } = await trusted();
  const library = await cryptography();
  const handovers = await context.handovers();
  const own = await node.text('/checkpoint');
  const pathOf = (a, b) => node.path(a, b);
  const ownFound = await relate(library, text, null, own, pathOf, handovers);
  const rows = [rowOf(t('compare.own'), ownFound, ownFound.relation === 'refused' ? t('compare.refused', { what: ownFound.what }) : '')];
  for (const { name, note } of sources) {
    try {
      const other = await note();
      const found = await relate(library, text, own, other, pathOf, handovers);
      rows.push(rowOf(name, found, t(`compare.${found.relation}`, { what: found.what })));
      if (found.relation === 'fork') raise(context, 'fork', name, own, other, found.report);
    } catch (error) {
      const what = error instanceof NoAddress ? t('compare.url') : t('compare.blocked', { what: error.message, url: name });
      rows.push(rowOf(name, null, what));
    }
  }
  const head = ['source', 'size', 'says'].map((name) => make('th', { scope: 'col' }, t(`compare.${name}`)));
  const table = make('table', {}, make('thead', {}, make('tr', {}, ...head)), make('tbody', {}, ...rows));
  return make('div', { class: 'scrolls' }, pin === null ? make('p', { class: 'mind' }, t('compare.provisional')) : null, table);
}

function rowOf(name, found, says) {
  const size = found?.checkpoint ? String(found.checkpoint.size) : '';
  return make('tr', { 'data-relation': found?.relation ?? 'none' }, make('th', { scope: 'row' }, name), make('td', {}, size), make('td', {}, says));
}
