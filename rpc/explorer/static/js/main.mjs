/** What every page of the explorer runs: the alarm, the watch over this node, and the verification of each proof. */

import { showAlarm } from './alarm.mjs';
import { comparison } from './compare.mjs';
import { contextOfPage } from './context.mjs';
import { make } from './dom.mjs';
import { fileVerifier } from './files.mjs';
import { keepLive } from './live.mjs';
import { kindsOf, verifySection } from './section.mjs';
import { trustPanel } from './trust.mjs';
import { watchOwnNode } from './watch.mjs';

const SECTIONS_AT_ONCE_MAX = 4;

async function main() {
  const context = contextOfPage();
  let damaged = null;
  try {
    const { alarm } = context.pins;
    if (alarm) showAlarm(context, alarm);
  } catch (error) {
    damaged = error;
  }
  await fillPlaces(context);
  keepLive();
  document.documentElement.dataset.scripts = 'on';
  if (damaged === null) await watchOwnNode(context).catch((error) => tell(context.t('watch.none', { what: error.message }), 'unwatched'));
  const sections = [...document.querySelectorAll('section.proof[data-kind]')];
  for (const section of sections.slice(0, SECTIONS_AT_ONCE_MAX)) {
    await verifySection(context, section, section.closest('[data-claims]') ?? document);
  }
  tellMissing(context, sections);
  document.documentElement.dataset.scripts = 'done';
}

/** Say so on a page whose address has proofs, where a proof is left out. */
function tellMissing({ t }, sections) {
  const here = new Set(sections.map(({ dataset }) => dataset.kind));
  if (kindsOf(globalThis.location.pathname).every((kind) => here.has(kind))) return;
  tell(t('head.none'), 'unproved');
}

/** Say above a page what it could not do. */
function tell(text, name) {
  (document.querySelector('main') ?? document.body).prepend(make('p', { class: `mind ${name}`, role: 'status' }, text));
}

/** Fill the places that a page has for what only a script can do. */
async function fillPlaces(context) {
  const fillers = {
    trust: () => trustPanel(context),
    files: () => fileVerifier({ t: context.t, cryptography: context.cryptography, context }),
    compare: () => comparison(context),
  };
  for (const place of document.querySelectorAll('[data-place]')) {
    const fill = fillers[place.dataset.place];
    if (!fill) continue;
    try {
      place.replaceChildren(await fill());
    } catch (error) {
      place.replaceChildren(make('p', { class: 'bad', role: 'alert' }, error.message));
    }
  }
}

await main();
