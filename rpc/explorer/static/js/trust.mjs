/**
 * Which policy counts in this browser, and how the reader pins one. A policy that the node itself gave proves nothing
 * against that node, and is never called more than it is.
 *
 * @typedef {{text: string, hash: string, pin: import('./pins.mjs').Pin | null, from: string}} Trusted  no pin: first use
 */

import { hashShown, labelled, make, textOfFile } from './dom.mjs';
import { hashOf } from './pins.mjs';

export const POLICY_MAX = 4 << 20;

/**
 * The pinned policy, or what the node offers where none is pinned.
 *
 * @param {import('./context.mjs').Context} context
 * @returns {Promise<Trusted>}
 */
export async function trustedPolicy({ pins, node }) {
  const { pin } = pins;
  if (pin !== null) return { text: pin.policy, hash: pin.hash, pin, from: pin.from };
  const text = await node.text('/policy');
  return { text, hash: hashOf(text), pin: null, from: `${globalThis.location?.origin ?? ''}/policy` };
}

/** The line that says under which policy something holds, who vouches for it, when and from where it was taken. */
export function trustLine({ t, pins }, trusted) {
  const { pin, hash } = trusted;
  if (pin === null) return firstUse({ t, pins }, trusted);
  const [before, after] = t('trust.pinned', { at: pin.at, by: pin.by || t('trust.nobody'), from: pin.from }).split('{hash}');
  return make('p', { class: 'trust', 'data-pinned': 'yes' }, before, hashShown(hash), after ?? '');
}

/** What is said where no policy is pinned: the hash to compare, and the button that pins it. */
function firstUse(context, trusted) {
  return make(
    'div',
    { class: 'trust', 'data-pinned': 'no' },
    make('p', {}, context.t('trust.first')),
    make('p', {}, hashShown(trusted.hash)),
    pinForm(context, trusted),
  );
}

function pinForm({ t, pins }, { text, from }) {
  const by = make('input', { type: 'text', maxlength: 200, autocomplete: 'off', name: 'by' });
  const pin = (event) => {
    event.preventDefault();
    pins.set(text, { from, by: by.value.trim(), at: new Date().toISOString() });
    globalThis.location.reload();
  };
  return make('form', { class: 'pin', onsubmit: pin }, labelled(t('trust.by'), by), make('button', { type: 'submit' }, t('trust.pin')));
}

/** The whole state of trust, with what changes it; for the page on which proofs are verified. */
export async function trustPanel(context) {
  const { t, pins, node } = context;
  const panel = make('div', { class: 'trust-panel' });
  const forget = make('button', { type: 'button', class: 'forget', onclick: () => (pins.forget(), globalThis.location.reload()) }, t('trust.forget'));
  let pin;
  try {
    pin = pins.pin;
  } catch (error) {
    panel.append(make('p', { class: 'bad', role: 'alert' }, t('trust.damaged', { what: error.message })), forget);
    return panel;
  }
  const offered = await node.text('/policy').catch(() => null);
  if (pin === null) {
    panel.append(make('p', {}, t('trust.none')));
    if (offered !== null) panel.append(trustLine(context, { text: offered, hash: hashOf(offered), pin: null, from: `${globalThis.location.origin}/policy` }));
    panel.append(fromFile(context));
    return panel;
  }
  panel.append(trustLine(context, { text: pin.policy, hash: pin.hash, pin, from: pin.from }));
  const { seen } = pins;
  if (seen) panel.append(make('p', { class: 'seen' }, t('trust.seen', { size: seen.size, at: seen.at })));
  if (offered !== null && hashOf(offered) !== pin.hash) {
    const [before, after] = t('trust.other').split('{hash}');
    panel.append(make('p', { class: 'mind' }, before, hashShown(hashOf(offered)), after ?? ''));
  }
  panel.append(forget);
  return panel;
}

function fromFile(context) {
  const { t } = context;
  const place = make('div', {});
  const input = make('input', { type: 'file', name: 'pin-file' });
  input.addEventListener('change', async () => {
    const [file] = input.files;
    if (!file) return;
    try {
      const text = await textOfFile(file, POLICY_MAX);
      place.replaceChildren(make('p', {}, hashShown(hashOf(text))), pinForm(context, { text, from: file.name }));
    } catch {
      place.replaceChildren(make('p', { class: 'bad', role: 'alert' }, t('files.bad', { name: file.name })));
    }
  });
  return make('div', {}, labelled(t('trust.choose'), input), place);
}
