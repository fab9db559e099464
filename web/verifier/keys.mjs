/**
 * Which Ed25519 keys and signatures may count at all, before any library is asked.
 *
 * Libraries disagree on degenerate keys. The node's refuses keys that are not canonical or of small order, signatures
 * whose first half is of small order, and a second half of the group's order or more; so does this, whatever stands
 * below. Sets of validators hold keys of the prime-order group alone, which takes a multiplication on the curve. All of
 * it is public data, so that nothing here needs constant time. Source: RFC 8032, section 5.1.
 *
 * @typedef {object} Crypto
 * @property {(data: Uint8Array) => Uint8Array} sha256
 * @property {(key: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean} verifyEd25519
 *     by the equation without cofactor, comparing the first half of the signature byte by byte
 */

import { hex, littleEndian } from './bytes.mjs';

const P = 2n ** 255n - 19n;
const ORDER = 2n ** 252n + 27742317777372353535851937790883648493n;
const KNOWN_MAX = 4096;

/** @param {bigint} value */
function reduced(value) {
  const rest = value % P;
  return rest < 0n ? rest + P : rest;
}

/**
 * @param {bigint} base
 * @param {bigint} exponent
 */
function power(base, exponent) {
  let result = 1n;
  for (let square = base, left = exponent; left; left >>= 1n, square = (square * square) % P) {
    if (left & 1n) result = (result * square) % P;
  }
  return result;
}

const D = reduced(-121665n * power(121666n, P - 2n));
const ROOT_OF_MINUS_ONE = power(2n, (P - 1n) / 4n);

/**
 * A point as (X, Y, Z, T): x = X/Z, y = Y/Z, xy = T/Z.
 *
 * @typedef {[bigint, bigint, bigint, bigint]} Point
 */

/**
 * The sum of two points, complete on this curve (Hisil and others, 2008).
 *
 * @param {Point} left
 * @param {Point} right
 * @returns {Point}
 */
function sum([x1, y1, z1, t1], [x2, y2, z2, t2]) {
  const a = reduced((y1 - x1) * (y2 - x2));
  const b = reduced((y1 + x1) * (y2 + x2));
  const c = reduced(2n * D * t1 * t2);
  const d = reduced(2n * z1 * z2);
  const [e, f, g, h] = [b - a, d - c, d + c, b + a];
  return [reduced(e * f), reduced(g * h), reduced(f * g), reduced(e * h)];
}

/**
 * The point of 32 bytes; null where they are not the canonical form of one.
 *
 * @param {Uint8Array} bytes
 * @returns {Point | null}
 */
function pointOf(bytes) {
  const number = littleEndian(bytes);
  const y = number & (2n ** 255n - 1n);
  if (bytes.length !== 32 || y >= P) return null;
  const square = reduced((y * y - 1n) * power(reduced(D * y * y + 1n), P - 2n));
  let x = power(square, (P + 3n) / 8n);
  if (reduced(x * x - square)) x = (x * ROOT_OF_MINUS_ONE) % P;
  if (reduced(x * x - square)) return null;
  const odd = number >> 255n;
  if (x === 0n && odd) return null;
  if ((x & 1n) !== odd) x = P - x;
  return [x, y, 1n, (x * y) % P];
}

/**
 * @param {bigint} factor
 * @param {Point} point
 * @returns {Point}
 */
function times(factor, point) {
  /** @type {Point} */
  let result = [0n, 1n, 1n, 0n];
  for (let left = factor, double = point; left; left >>= 1n, double = sum(double, double)) {
    if (left & 1n) result = sum(result, double);
  }
  return result;
}

/** @param {Point} point */
function isZero([x, y, z]) {
  return x === 0n && y === z;
}

/** The y of all points whose order divides 8: the multiples of one that the order of the group does not send to zero. */
const SMALL_ORDER_YS = (() => {
  for (let first = 2; ; first++) {
    const point = pointOf(Uint8Array.of(first, ...new Uint8Array(31)));
    const small = point && times(ORDER, point);
    if (!small || isZero(times(4n, small))) continue;
    return new Set(
      Array.from({ length: 8 }, (_, i) => {
        const [, y, z] = times(BigInt(i), small);
        return reduced(y * power(z, P - 2n));
      }),
    );
  }
})();

/**
 * Whether 32 bytes can be no key and no first half of a signature: not canonical, or of small order.
 *
 * @param {Uint8Array} bytes
 */
export function isDegenerate(bytes) {
  const y = littleEndian(bytes) & (2n ** 255n - 1n);
  return bytes.length !== 32 || y >= P || SMALL_ORDER_YS.has(y);
}

/** @type {Map<string, boolean>} */
const known = new Map();

/**
 * Whether a key may stand in a set of validators: a canonical point of the prime-order group.
 *
 * @param {Uint8Array} key
 */
export function isRegistrable(key) {
  if (isDegenerate(key)) return false;
  const name = hex(key);
  let good = known.get(name);
  if (good === undefined) {
    const point = pointOf(key);
    good = point !== null && isZero(times(ORDER, point));
    if (known.size >= KNOWN_MAX) known.clear();
    known.set(name, good);
  }
  return good;
}

/**
 * Whether a signature is a key's over a message.
 *
 * @param {Crypto} crypto
 * @param {Uint8Array} key
 * @param {Uint8Array} message
 * @param {Uint8Array} signature
 */
export function isSignedBy(crypto, key, message, signature) {
  if (signature.length !== 64 || isDegenerate(key) || isDegenerate(signature.subarray(0, 32))) return false;
  if (littleEndian(signature.subarray(32)) >= ORDER) return false;
  return crypto.verifyEd25519(key, message, signature) === true;
}
