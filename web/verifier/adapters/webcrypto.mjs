/**
 * Cryptography of the browser, on pages by HTTPS: WebCrypto answers later, and a verifier that waits at each signature
 * would be two verifiers. So what is to be verified is run through twice: once to learn which signatures it asks
 * about, and once with the answers. What nobody asked about before counts as refused.
 */

import { hex } from '../bytes.mjs';
import { Refused } from '../refused.mjs';
import { sha256 } from '../sha256.mjs';

/**
 * Return what `run` returns with WebCrypto's word on each signature, or throw what it throws.
 *
 * @template T
 * @param {(crypto: import('../keys.mjs').Crypto) => T} run  such as `(crypto) => verify(text, policy, { crypto })`
 * @param {SubtleCrypto} [subtle]
 * @returns {Promise<T>}
 */
export async function withWebCrypto(run, subtle = globalThis.crypto?.subtle) {
  if (!subtle) throw new Refused('crypto', 'no WebCrypto here, as on plain HTTP: use adapters/noble.mjs');
  const asked = new Map();
  const nameOf = (key, message, signature) => hex(key) + hex(signature) + hex(sha256(message));
  try {
    run({
      sha256,
      verifyEd25519(key, message, signature) {
        asked.set(nameOf(key, message, signature), [key, message, signature]);
        return true;
      },
    });
  } catch (error) {
    if (!(error instanceof Refused)) throw error; // which step failed first, the second run says
  }
  const answers = new Map();
  for (const [name, parts] of asked) answers.set(name, await isSigned(subtle, ...parts));
  return run({
    sha256,
    verifyEd25519: (key, message, signature) => answers.get(nameOf(key, message, signature)) === true,
  });
}

async function isSigned(subtle, key, message, signature) {
  let imported;
  try {
    imported = await subtle.importKey('raw', key, { name: 'Ed25519' }, false, ['verify']);
  } catch (error) {
    if (error.name !== 'NotSupportedError') return false; // not a point of the curve
    throw new Refused('crypto', 'this browser has no Ed25519: use adapters/noble.mjs');
  }
  return subtle.verify({ name: 'Ed25519' }, imported, signature, message);
}
