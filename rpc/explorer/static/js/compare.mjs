/** Holds other nodes' checkpoints against this node's: a second answer to the question whether there is one history. */

import { raise } from './alarm.mjs';
import { relate } from './checkpoints.mjs';
import { labelled, make, textOfFile } from './dom.mjs';
import { Node, TooSlow } from './node.mjs';

const NOTE_MAX = 65_536;
const SOURCES_MAX = 32;
/** One slow node holds up no other, and is told so after this. */
export const PATIENCE_MS = 5_000;

/** @param {import('./context.mjs').Context} context */
export function comparison(context) {
  const { t } = context;
  const urls = make('textarea', { rows: 3, name: 'nodes', spellcheck: 'false', autocomplete: 'off' });
  const files = make('input', { type: 'file', multiple: true, name: 'checkpoints' });
  const place = make('div', { class: 'compared', 'aria-live': 'polite' });
  const go = async (event) => {
    event.preventDefault();
    const sources = [
      ...urls.value.split(/\s+/).filter((url) => url !== '').map((url) => ({ name: url, node: nodeOf(url) })),
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

/** The node at an address; null where it is none. */
function nodeOf(url) {
  try {
    const { protocol, origin } = new URL(url);
    return ['http:', 'https:'].includes(protocol) ? new Node(origin, undefined, PATIENCE_MS) : null;
  } catch {
    return null;
  }
}

async function compared(context, sources) {
  const { t, node, trusted, cryptography } = context;
  const { text, pin } = await trusted();
  const library = await cryptography();
  const handovers = await context.handovers();
  const own = await node.text('/checkpoint');
  const ownFound = await relate(library, text, null, own, (a, b) => node.path(a, b), handovers);
  const rows = [rowOf(t('compare.own'), ownFound, ownFound.relation === 'refused' ? t('compare.refused', { what: ownFound.what }) : '')];
  const judge = async ({ name, node: other, note }) => {
    if (other === null) return rowOf(name, null, t('compare.url'));
    let theirs;
    try {
      theirs = other ? await other.text('/checkpoint') : await note();
    } catch (error) {
      return rowOf(name, null, t(error instanceof TooSlow ? 'compare.slow' : 'compare.blocked', { what: error.message, url: name }));
    }
    const found = await relate(library, text, own, theirs, pathFrom(node, other), handovers);
    if (found.relation === 'fork') raise(context, 'fork', name, own, theirs, found.report);
    return rowOf(name, found, t(`compare.${found.relation}`, { what: found.what }));
  };
  rows.push(...(await Promise.all(sources.map(judge))));
  const head = ['source', 'size', 'says'].map((name) => make('th', { scope: 'col' }, t(`compare.${name}`)));
  const table = make('table', {}, make('thead', {}, make('tr', {}, ...head)), make('tbody', {}, ...rows));
  return make('div', { class: 'scrolls' }, pin === null ? make('p', { class: 'mind' }, t('compare.provisional')) : null, table);
}

/** The path between two sizes from this node, or from the other where this one's log is too small; it is verified. */
function pathFrom(own, other) {
  return (small, large) => own.path(small, large).catch((error) => (other ? other.path(small, large) : Promise.reject(error)));
}

function rowOf(name, found, says) {
  const size = found?.checkpoint ? String(found.checkpoint.size) : '';
  return make('tr', { 'data-relation': found?.relation ?? 'none' }, make('th', { scope: 'row' }, name), make('td', {}, size), make('td', {}, says));
}
