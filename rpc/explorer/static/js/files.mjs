/**
 * Verifies files that the reader chooses or drops: a proof, and a policy where none is pinned. Used by a page of the node
 * and by the standalone verifier; nothing leaves the browser.
 */

import { hashShown, labelled, make, textOfFile } from './dom.mjs';
import { examine } from './engine.mjs';
import { examineNotes, kindOfNotes } from './notes.mjs';
import { hashOf } from './pins.mjs';
import { factsShown, fillSteps } from './section.mjs';
import { POLICY_MAX, trustLine } from './trust.mjs';

const PROOF_MAX = 64 << 20;
const HEADING = 'c2sp.org/tlog-proof@v1';

/**
 * The form, and the place of its result.
 *
 * @param {object} given
 * @param {(key: string, places?: object) => string} given.t
 * @param {() => Promise<import('./crypto.mjs').Cryptography>} given.cryptography
 * @param {import('./context.mjs').Context | null} given.context  of a page of a node; null for the standalone verifier
 */
export function fileVerifier({ t, cryptography, context }) {
  const chosen = { proof: null, policy: null };
  const field = (name, attributes) => make('input', { name, ...attributes });
  const proof = field('proof', { type: 'file' });
  const policy = field('policy', { type: 'file' });
  const [certificate, at, member] = ['certificate', 'at', 'member'].map((name) => field(name, { type: 'text', autocomplete: 'off' }));
  const loaded = make('p', { class: 'fine loaded', role: 'status' });
  const place = make('div', { class: 'proof-place' });

  const tell = (text) => place.replaceChildren(make('p', { class: 'bad', role: 'alert' }, text));
  const take = async (file, as) => {
    try {
      const text = await textOfFile(file, PROOF_MAX);
      const name = as ?? (text.startsWith(HEADING) || kindOfNotes(text) ? 'proof' : 'policy');
      if (name === 'policy' && text.length > POLICY_MAX) throw new Error(file.name);
      chosen[name] = { text, name: file.name };
    } catch {
      if (as) chosen[as] = null;
      tell(t('files.bad', { name: file.name }));
      return false;
    }
    loaded.replaceChildren(chosen.proof?.name ?? '', chosen.proof && chosen.policy ? ' · ' : '', chosen.policy?.name ?? '');
    return true;
  };
  proof.addEventListener('change', () => proof.files[0] && take(proof.files[0], 'proof'));
  policy.addEventListener('change', () => policy.files[0] && take(policy.files[0], 'policy'));

  const go = async (event) => {
    event.preventDefault();
    for (const [input, name] of [[proof, 'proof'], [policy, 'policy']]) {
      if (input.files[0] && !(await take(input.files[0], name))) return undefined;
    }
    if (chosen.proof === null) return tell(t('files.none'));
    const trusted = trustedOf(chosen.policy, context);
    if (trusted === null) return tell(t('files.nopolicy'));
    const subject = member.value.trim() || certificate.value.trim() || undefined;
    const kind = member.value.trim() ? 'completeness' : undefined;
    return show({ asked: { kind, subject, certificate: certificate.value.trim(), at: at.value.trim() || undefined }, trusted });
  };

  const show = async ({ asked, trusted }) => {
    try {
      const library = await cryptography();
      const { text } = chosen.proof;
      const given = { cryptography: library, policy: trusted.text, asked, t };
      const found = await (kindOfNotes(text) ? examineNotes({ ...given, text }) : examine({ ...given, proof: text }));
      const box = make('section', { class: 'proof' });
      const result = make('div', { class: 'proof-result', 'data-verdict': found.holds ? 'verified' : 'refused', 'data-ms': found.ms.toFixed(1) });
      box.append(result);
      fillSteps(box, result, found.steps, t);
      const head = t(found.holds ? 'head.verified' : 'head.refused.file');
      result.append(
        make('p', { class: 'proof-head', role: 'status' }, head),
        trustOfFile({ t, context }, trusted),
        ...(found.verdict === null ? [] : factsShown(found, t)),
        make('p', { class: 'fine' }, t('how', { ms: found.ms.toFixed(0), crypto: t(`crypto.${library.name}`) })),
      );
      place.replaceChildren(box);
    } catch (error) {
      tell(t('head.off', { what: error instanceof Error ? error.message : String(error) }));
    }
  };

  const form = make(
    'form',
    { class: 'files', onsubmit: go },
    make('p', {}, t('files.drop')),
    labelled(t('files.proof'), proof),
    labelled(t(context ? 'files.policy' : 'files.policy.needed'), policy),
    loaded,
    make('details', {}, make('summary', {}, t('files.more')), labelled(t('files.certificate'), certificate), labelled(t('files.at'), at), labelled(t('files.member'), member)),
    make('button', { type: 'submit' }, t('files.go')),
  );
  form.addEventListener('dragover', (event) => event.preventDefault());
  form.addEventListener('drop', async (event) => {
    event.preventDefault();
    // The list is emptied once this handler waits.
    for (const file of [...event.dataTransfer.files]) await take(file);
  });
  return make('div', { class: 'file-verifier' }, form, place);
}

/** The chosen policy, else the pinned one; null where there is neither. */
function trustedOf(policy, context) {
  if (policy) return { text: policy.text, hash: hashOf(policy.text), from: policy.name, pin: null };
  const pin = context?.pins.pin ?? null;
  return pin && { text: pin.policy, hash: pin.hash, from: pin.from, pin };
}

function trustOfFile({ t, context }, trusted) {
  if (trusted.pin) return trustLine(context, trusted);
  const [before, after] = t('trust.file', { from: trusted.from }).split('{hash}');
  return make('p', { class: 'trust', 'data-pinned': 'file' }, before, hashShown(trusted.hash), after ?? '');
}
