/**
 * Which cryptography this browser verifies with: noble where `make web` put it, else the browser's own.
 *
 * Either must first judge a signature of RFC 8032 right, and the same one with a flipped bit: a library that says yes to
 * everything would be worse than none.
 */

import { withWebCrypto } from '../verifier/adapters/webcrypto.mjs';
import { fromHex } from '../verifier/bytes.mjs';
import { isSignedBy } from '../verifier/keys.mjs';
import { Refused } from '../verifier/refused.mjs';
import { sha256 } from '../verifier/sha256.mjs';

// RFC 8032, section 7.1, test 2.
const KEY = fromHex('3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c');
const MESSAGE = fromHex('72');
const SIGNATURE = fromHex(
  '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da' +
    '085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
);

/**
 * @typedef {object} Cryptography
 * @property {'noble' | 'webcrypto'} name
 * @property {<T>(run: (crypto: import('../verifier/keys.mjs').Crypto) => T) => Promise<T>} run
 *     runs what verifies, perhaps twice, and returns what it returns or throws what it throws
 */

/** @type {Promise<Cryptography> | undefined} */
let chosen;

/** What this browser verifies with; rejects with `Refused` where there is nothing. */
export function chooseCrypto() {
  chosen ??= choose([fromVendor, fromBrowser]);
  return chosen;
}

/**
 * The first of several that is there and judges right.
 *
 * @param {(() => Promise<Cryptography>)[]} makers
 */
export async function choose(makers) {
  const reasons = [];
  for (const make of makers) {
    try {
      const cryptography = await make();
      if (await judgesRight(cryptography)) return cryptography;
      reasons.push(`${cryptography.name} judges a signature of RFC 8032 wrongly`);
    } catch (error) {
      reasons.push(error instanceof Error ? error.message : String(error));
    }
  }
  throw new Refused('crypto', `this browser has nothing to verify signatures with: ${reasons.join('; ')}`);
}

export async function fromVendor() {
  const { nobleCrypto } = await import('../vendor/noble.mjs');
  return ofNoble(nobleCrypto);
}

/** @returns {Cryptography} */
export function ofNoble(nobleCrypto) {
  return { name: 'noble', run: async (run) => run({ ...nobleCrypto, sha256 }) };
}

/** @returns {Promise<Cryptography>} */
export async function fromBrowser() {
  return { name: 'webcrypto', run: (run) => withWebCrypto(run) };
}

/** @param {Cryptography} cryptography */
async function judgesRight({ run }) {
  const flipped = SIGNATURE.map((byte, i) => (i === 40 ? byte ^ 1 : byte));
  const [good, bad] = await run((crypto) => [
    isSignedBy(crypto, KEY, MESSAGE, SIGNATURE),
    isSignedBy(crypto, KEY, MESSAGE, flipped),
  ]);
  return good === true && bad === false;
}
