/**
 * Cryptography of @noble/curves and @noble/hashes: for pages on plain HTTP, where browsers have no WebCrypto.
 *
 * noble's own `verify` multiplies by the cofactor and so accepts signatures that the node refuses; the equation below is
 * the node's. Keys and signatures of small order were refused before (`keys.mjs`).
 */

import { ed25519 } from '@noble/curves/ed25519.js';
import { sha256, sha512 } from '@noble/hashes/sha2.js';

import { joined, littleEndian, same } from '../bytes.mjs';

const { Point } = ed25519;

/** @type {import('../keys.mjs').Crypto} */
export const nobleCrypto = {
  sha256: (data) => sha256(data),
  verifyEd25519(key, message, signature) {
    const [first, second] = [signature.subarray(0, 32), littleEndian(signature.subarray(32))];
    const challenge = littleEndian(sha512(joined(first, key, message))) % Point.Fn.ORDER;
    let point;
    try {
      point = Point.fromBytes(key, false);
    } catch {
      return false; // not a point of the curve
    }
    const expected = Point.BASE.multiplyUnsafe(second).subtract(point.multiplyUnsafe(challenge));
    return same(expected.toBytes(), first);
  },
};
