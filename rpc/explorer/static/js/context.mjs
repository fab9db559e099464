/**
 * What all parts of a page share: its language, its node, what is pinned, and this browser's cryptography.
 *
 * @typedef {object} Context
 * @property {(key: string, places?: object) => string} t
 * @property {import('./node.mjs').Node} node
 * @property {import('./pins.mjs').Pins} pins
 * @property {() => Promise<import('./crypto.mjs').Cryptography>} cryptography
 * @property {() => Promise<import('./trust.mjs').Trusted>} trusted
 * @property {() => Promise<Record<string, string>>} words  of the pages, for values of closed sets
 * @property {() => Promise<Uint8Array[]>} handovers  from the policy's last epoch to the present one
 */

import { parsePolicy } from '../verifier/policy.mjs';
import { chooseCrypto } from './crypto.mjs';
import { Node, Unanswered } from './node.mjs';
import { passingStorage, Pins } from './pins.mjs';
import { textsOf } from './texts.mjs';
import { trustedPolicy } from './trust.mjs';
import { wordsOf } from './words.mjs';

/** @returns {Context} */
export function contextOfPage() {
  const context = {
    t: textsOf(document.documentElement.lang || 'en'),
    node: new Node(),
    pins: new Pins(storage()),
    cryptography: chooseCrypto,
    words: () => wordsOf(document.documentElement.lang || 'en'),
    trusted: once(() => trustedPolicy(context)),
    handovers: once(() => handoversFor(context)),
  };
  return context;
}

/** Browsers may forbid storage; then what is pinned lasts as long as the page. */
function storage() {
  try {
    globalThis.localStorage.getItem('');
    return globalThis.localStorage;
  } catch {
    return passingStorage();
  }
}

/** The present epoch is the last one of the policy that the node offers, which everybody may read who may read a page. */
async function handoversFor({ t, trusted, cryptography, node }) {
  const { text, pin } = await trusted();
  const library = await cryptography();
  const last = await lastEpoch(library, text);
  if (pin === null || last === null) return [];
  try {
    const offered = await node.text('/policy');
    const present = offered === text ? last : await lastEpoch(library, offered);
    return present === null ? [] : await node.handovers(last, present);
  } catch (error) {
    throw new Unanswered(t('trust.handovers', { epoch: last, what: error.message }));
  }
}

async function lastEpoch(library, policy) {
  const { epochs } = await library.run((crypto) => parsePolicy(crypto, policy));
  return epochs.at(-1)?.epoch ?? null;
}

function once(run) {
  let promise;
  return () => (promise ??= run());
}
