/**
 * The Merkle trees of RFC 6962: roots, inclusion, consistency, and a range of leaves with what stands beside it.
 *
 * Sizes and indexes are BigInt up to 2^63 - 1. Source: RFC 9162, sections 2.1.3 and 2.1.4.
 *
 * @typedef {import('./keys.mjs').Crypto} Crypto
 */

import { joined, same } from './bytes.mjs';
import { check } from './refused.mjs';

export const HASH_BYTES = 32;
export const PATH_MAX = 64;
export const SIZE_MAX = 2n ** 63n - 1n;
const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);

/**
 * @param {Crypto} crypto
 * @param {...Uint8Array} leaf  its parts
 */
export function leafHash(crypto, ...leaf) {
  return crypto.sha256(joined(LEAF, ...leaf));
}

/**
 * @param {Crypto} crypto
 * @param {Uint8Array} left
 * @param {Uint8Array} right
 */
export function nodeHash(crypto, left, right) {
  return crypto.sha256(joined(NODE, left, right));
}

/** @param {Crypto} crypto */
export function emptyRoot(crypto) {
  return crypto.sha256(new Uint8Array());
}

/**
 * The root over leaf hashes.
 *
 * @param {Crypto} crypto
 * @param {readonly Uint8Array[]} leaves
 */
export function rootOf(crypto, leaves) {
  if (leaves.length === 0) return emptyRoot(crypto);
  let level = leaves;
  while (level.length > 1) {
    const above = [];
    for (let i = 0; i + 1 < level.length; i += 2) above.push(nodeHash(crypto, level[i], level[i + 1]));
    if (level.length % 2) above.push(level[level.length - 1]);
    level = above;
  }
  return level[0];
}

/**
 * @param {readonly Uint8Array[]} path
 * @param {string} step
 */
function checkPath(path, step) {
  check(path.length <= PATH_MAX, step, `a path of ${path.length} hashes: at most ${PATH_MAX}`);
  check(path.every((item) => item.length === HASH_BYTES), step, 'a hash of a path has not 32 bytes');
}

/** @param {bigint} value */
function isOdd(value) {
  return (value & 1n) === 1n;
}

/**
 * Throw `Refused` unless a leaf hash stands at `index` of the tree of `size` leaves with this root.
 *
 * @param {Crypto} crypto
 * @param {Uint8Array} root
 * @param {bigint} size
 * @param {bigint} index
 * @param {Uint8Array} leaf
 * @param {readonly Uint8Array[]} path  lowest first
 * @param {string} step
 */
export function checkInclusion(crypto, root, size, index, leaf, path, step) {
  checkPath(path, step);
  check(leaf.length === HASH_BYTES && root.length === HASH_BYTES, step, 'a hash has not 32 bytes');
  check(size <= SIZE_MAX, step, `a tree of ${size} leaves is too large`);
  check(index >= 0n && index < size, step, `no leaf ${index} in a tree of ${size}`);
  let [place, last] = [index, size - 1n];
  let hash = leaf;
  for (const sibling of path) {
    check(last > 0n, step, 'the path is too long');
    if (isOdd(place) || place === last) {
      hash = nodeHash(crypto, sibling, hash);
      while (!isOdd(place) && place > 0n) [place, last] = [place >> 1n, last >> 1n];
    } else {
      hash = nodeHash(crypto, hash, sibling);
    }
    [place, last] = [place >> 1n, last >> 1n];
  }
  check(last === 0n, step, 'the path is too short');
  check(same(hash, root), step, 'the path does not lead to the root');
}

/**
 * Throw `Refused` unless the tree of `newSize` leaves begins with that of `oldSize`.
 *
 * @param {Crypto} crypto
 * @param {bigint} oldSize
 * @param {Uint8Array} oldRoot
 * @param {bigint} newSize
 * @param {Uint8Array} newRoot
 * @param {readonly Uint8Array[]} path
 */
export function checkConsistency(crypto, oldSize, oldRoot, newSize, newRoot, path) {
  const step = 'consistency';
  checkPath(path, step);
  check(oldRoot.length === HASH_BYTES && newRoot.length === HASH_BYTES, step, 'a root has not 32 bytes');
  check(oldSize >= 0n && oldSize <= newSize && newSize <= SIZE_MAX, step, `no proof from ${oldSize} to ${newSize}`);
  if (oldSize === 0n || oldSize === newSize) {
    check(path.length === 0, step, 'hashes that nothing asks for');
    const expected = oldSize === 0n ? emptyRoot(crypto) : newRoot;
    check(same(oldRoot, expected), step, 'the roots differ');
    check(newSize > 0n || same(newRoot, emptyRoot(crypto)), step, 'the root is not that of an empty tree');
    return;
  }
  let [place, last] = [oldSize - 1n, newSize - 1n];
  while (isOdd(place)) [place, last] = [place >> 1n, last >> 1n];
  // Where the old tree is one complete subtree its root is the start, and the path leaves it out.
  const hashes = place === 0n ? [oldRoot, ...path] : path;
  check(hashes.length > 0, step, 'the path is too short');
  let [old, grown] = [hashes[0], hashes[0]];
  for (const sibling of hashes.slice(1)) {
    check(last > 0n, step, 'the path is too long');
    if (isOdd(place) || place === last) {
      old = nodeHash(crypto, sibling, old);
      grown = nodeHash(crypto, sibling, grown);
      while (!isOdd(place) && place > 0n) [place, last] = [place >> 1n, last >> 1n];
    } else {
      grown = nodeHash(crypto, grown, sibling);
    }
    [place, last] = [place >> 1n, last >> 1n];
  }
  check(last === 0n, step, 'the path is too short');
  check(same(old, oldRoot), step, 'the path does not lead to the old root');
  check(same(grown, newRoot), step, 'the path does not lead to the new root');
}

/** @param {bigint} value  above zero */
function trailingZeros(value) {
  let zeros = 0n;
  for (let left = value; !isOdd(left); left >>= 1n) zeros += 1n;
  return zeros;
}

/** @param {bigint} value */
function bitLength(value) {
  return value === 0n ? 0n : BigInt(value.toString(2).length);
}

/**
 * The levels of the complete subtrees that make up leaves `start` to `stop`, from left to right: each the largest that
 * begins there and does not pass the end.
 *
 * @param {bigint} start
 * @param {bigint} stop
 * @returns {bigint[]}
 */
function coverLevels(start, stop) {
  const levels = [];
  for (let at = start; at < stop; at += 1n << levels[levels.length - 1]) {
    const fits = bitLength(stop - at) - 1n;
    const aligned = at === 0n ? fits : trailingZeros(at);
    levels.push(aligned < fits ? aligned : fits);
  }
  return levels;
}

/**
 * Throw `Refused` unless these are the leaves from `start` on of the tree of `size` with this root.
 *
 * @param {Crypto} crypto
 * @param {Uint8Array} root
 * @param {bigint} size
 * @param {bigint} start
 * @param {readonly Uint8Array[]} leaves
 * @param {readonly Uint8Array[]} before  roots of the complete subtrees that make up all before `start`
 * @param {readonly Uint8Array[]} after  and all after the leaves
 * @param {string} step
 */
export function checkRange(crypto, root, size, start, leaves, before, after, step) {
  const stop = start + BigInt(leaves.length);
  check(size <= SIZE_MAX && start >= 0n && stop <= size, step, `no leaves ${start} to ${stop} in a tree of ${size}`);
  const [left, right] = [coverLevels(0n, start), coverLevels(stop, size)];
  check(before.length === left.length && after.length === right.length, step, 'number of hashes beside the range');
  /** @type {[bigint, Uint8Array][]} complete subtrees from left to right, ever smaller */
  const stack = [];
  /** @type {(level: bigint, hash: Uint8Array) => void} */
  const push = (level, hash) => {
    let [high, carry] = [level, hash];
    while (stack.length && stack[stack.length - 1][0] === high) {
      carry = nodeHash(crypto, /** @type {[bigint, Uint8Array]} */ (stack.pop())[1], carry);
      high += 1n;
    }
    stack.push([high, carry]);
  };
  before.forEach((hash, i) => push(left[i], hash));
  leaves.forEach((hash) => push(0n, hash));
  after.forEach((hash, i) => push(right[i], hash));
  const top = stack.pop();
  const found = stack.reduceRight((carry, [, hash]) => nodeHash(crypto, hash, carry), top ? top[1] : emptyRoot(crypto));
  check(same(found, root), step, 'the range does not lead to the root');
}
