/**
 * Any canonical MessagePack as its values, without names: it tells types and nothing more.
 *
 * What is here for bodies of kinds that this release does not know; those that it knows are read by name (bodies.mjs).
 */

import { hex } from '../verifier/bytes.mjs';
import { bool, bytes, decode, int, list, text } from '../verifier/msgpack.mjs';

const DEPTH_MAX = 16;

/** One value of any type: BigInt, text, bytes, boolean, null, or an array of these. */
export function anything(depth = 0) {
  return (reader) => {
    const head = reader.bytes[reader.at];
    if (depth > DEPTH_MAX) return reader.refuse('no deeper nesting');
    if (head === 0xc0) return (reader.at += 1), null;
    if (head === 0xc2 || head === 0xc3) return bool(reader);
    if (head >= 0xc4 && head <= 0xc6) return bytes()(reader);
    if ((head >= 0xa0 && head <= 0xbf) || (head >= 0xd9 && head <= 0xdb)) return text()(reader);
    if ((head >= 0x90 && head <= 0x9f) || head === 0xdc || head === 0xdd) return list(anything(depth + 1))(reader);
    return int()(reader);
  };
}

/**
 * The values of a body as texts, one a line, lists in brackets on lines of their own; null where it is no MessagePack.
 *
 * @param {Uint8Array} data
 * @returns {string[] | null}
 */
export function valuesOf(data) {
  try {
    return linesOf(decode(anything(), data, 'body'), 0);
  } catch {
    return null;
  }
}

function linesOf(value, depth) {
  const pad = '  '.repeat(depth);
  if (!Array.isArray(value)) return [pad + said(value)];
  if (!value.length) return [`${pad}[]`];
  return [`${pad}[`, ...value.flatMap((each) => linesOf(each, depth + 1)), `${pad}]`];
}

function said(value) {
  if (value === null) return '\u2013';
  if (typeof value === 'string') return JSON.stringify(value);
  return value instanceof Uint8Array ? `0x${hex(value)}` : String(value);
}
