/**
 * The bytes of an event's body as its values, without their names: canonical MessagePack tells types and nothing more.
 *
 * What a page shows of an event is worded by the node; these are the values that are proved, in the order of the table of
 * its kind (docs/formats.md).
 */

import { hex, textOf } from '../verifier/bytes.mjs';

const DEPTH_MAX = 16;
const VALUES_MAX = 4_096;

/**
 * The values of a body as texts, one a line, lists in brackets on lines of their own; null where it is no MessagePack.
 *
 * @param {Uint8Array} bytes
 * @returns {string[] | null}
 */
export function valuesOf(bytes) {
  const reader = { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length), at: 0, lines: [] };
  try {
    read(reader, 0);
    return reader.at === bytes.length ? reader.lines : null;
  } catch {
    return null;
  }
}

function read(reader, depth) {
  if (depth > DEPTH_MAX || reader.lines.length > VALUES_MAX) throw new RangeError();
  const tag = take(reader, 1)[0];
  const say = (text) => reader.lines.push('  '.repeat(depth) + text);
  if (tag <= 0x7f) return say(String(tag));
  if (tag >= 0xe0) return say(String(tag - 256));
  if (tag >= 0x90 && tag <= 0x9f) return readList(reader, tag & 15, depth, say);
  if (tag >= 0xa0 && tag <= 0xbf) return say(quoted(take(reader, tag & 31)));
  switch (tag) {
    case 0xc0: return say('–');
    case 0xc2: return say('false');
    case 0xc3: return say('true');
    case 0xc4: case 0xc5: case 0xc6: return say(`0x${hex(take(reader, length(reader, 1 << (tag - 0xc4))))}`);
    case 0xcc: case 0xcd: case 0xce: case 0xcf: return say(String(unsigned(reader, 1 << (tag - 0xcc))));
    case 0xd0: case 0xd1: case 0xd2: case 0xd3: return say(String(signed(reader, 1 << (tag - 0xd0))));
    case 0xd9: case 0xda: case 0xdb: return say(quoted(take(reader, length(reader, 1 << (tag - 0xd9)))));
    case 0xdc: case 0xdd: return readList(reader, length(reader, tag === 0xdc ? 2 : 4), depth, say);
    default: throw new RangeError();
  }
}

function readList(reader, count, depth, say) {
  say(count ? '[' : '[]');
  for (let left = count; left > 0; left--) read(reader, depth + 1);
  if (count) say(']');
}

function take(reader, count) {
  const end = reader.at + count;
  if (end > reader.bytes.length) throw new RangeError();
  const part = reader.bytes.subarray(reader.at, end);
  reader.at = end;
  return part;
}

function unsigned(reader, size) {
  return take(reader, size).reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
}

function signed(reader, size) {
  return BigInt.asIntN(8 * size, unsigned(reader, size));
}

function length(reader, size) {
  return Number(unsigned(reader, size));
}

function quoted(bytes) {
  const text = textOf(bytes);
  if (text === null) throw new RangeError();
  return JSON.stringify(text);
}
