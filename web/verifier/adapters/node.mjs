/** Cryptography of Node: OpenSSL's, whose Ed25519 compares by the equation without cofactor. Needs no package. */

import { createHash, createPublicKey, verify } from 'node:crypto';

const SPKI = Uint8Array.of(0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00);

/** @type {import('../keys.mjs').Crypto} */
export const nodeCrypto = {
  sha256: (data) => new Uint8Array(createHash('sha256').update(data).digest()),
  verifyEd25519(key, message, signature) {
    try {
      const spki = createPublicKey({ key: Buffer.concat([SPKI, key]), format: 'der', type: 'spki' });
      return verify(null, message, spki, signature);
    } catch {
      return false; // not a point of the curve
    }
  },
};
