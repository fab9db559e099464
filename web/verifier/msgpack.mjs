/**
 * Canonical MessagePack: shortest forms, arrays of fixed order, no maps, floats or extension types.
 *
 * A type is a function that reads one value. Whatever is not in its shortest form is refused while it is read, so what
 * is read has exactly one form and a record's own bytes (`raw`) are its canonical bytes. Integers are BigInt: they reach
 * 2^64 - 1, and Number rounds beyond 2^53. Source: docs/formats.md, Canonical MessagePack.
 */

import { joined, textOf, utf8 } from './bytes.mjs';
import { refuse } from './refused.mjs';

/**
 * @template T
 * @typedef {(reader: Reader) => T} Type
 */

export class Reader {
  /**
   * @param {Uint8Array} bytes
   * @param {string} step  named by whatever is refused
   */
  constructor(bytes, step) {
    this.bytes = bytes;
    this.step = step;
    this.at = 0;
  }

  /**
   * @param {string} expected
   * @returns {never}
   */
  refuse(expected) {
    return refuse(this.step, `not canonical MessagePack at byte ${this.at}: expected ${expected}`);
  }

  /** @param {string} expected */
  byte(expected) {
    if (this.at >= this.bytes.length) this.refuse(expected);
    return this.bytes[this.at++];
  }

  /**
   * @param {number} size
   * @param {string} expected
   */
  take(size, expected) {
    if (size > this.bytes.length - this.at) this.refuse(expected);
    this.at += size;
    return this.bytes.subarray(this.at - size, this.at);
  }

  /**
   * A big-endian number of 1, 2 or 4 bytes that a shorter form could not say.
   *
   * @param {number} size
   * @param {number} least
   * @param {string} expected
   */
  length(size, least, expected) {
    const value = this.take(size, expected).reduce((sum, byte) => sum * 256 + byte, 0);
    if (value < least) this.refuse(`${expected} in its shortest form`);
    return value;
  }
}

const U64 = 1n << 64n;

/**
 * @param {Reader} reader
 * @returns {bigint}
 */
function integer(reader) {
  const head = reader.byte('an integer');
  if (head < 0x80) return BigInt(head);
  if (head >= 0xe0) return BigInt(head - 0x100);
  const signed = head >= 0xd0 && head <= 0xd3;
  if (!signed && !(head >= 0xcc && head <= 0xcf)) reader.refuse('an integer');
  const width = 1 << (head & 3);
  const bits = BigInt(8 * width);
  let value = 0n;
  for (const byte of reader.take(width, 'an integer')) value = (value << 8n) | BigInt(byte);
  if (!signed) {
    const least = width === 1 ? 0x80n : 1n << (bits / 2n);
    if (value < least) reader.refuse('an integer in its shortest form');
    return value;
  }
  const negative = BigInt.asIntN(Number(bits), value);
  const above = width === 1 ? -32n : -(1n << (bits / 2n - 1n));
  if (negative >= above) reader.refuse('an integer in its shortest form');
  return negative;
}

/**
 * An integer within these limits.
 *
 * @param {bigint} [least]
 * @param {bigint} [most]
 * @returns {Type<bigint>}
 */
export function int(least = -(1n << 63n), most = U64 - 1n) {
  return (reader) => {
    const value = integer(reader);
    if (value < least || value > most) reader.refuse(`an integer from ${least} to ${most}`);
    return value;
  };
}

/**
 * Bytes of a length within these limits; a copy of none is made.
 *
 * @param {number} [least]
 * @param {number} [most]
 * @returns {Type<Uint8Array>}
 */
export function bytes(least = 0, most = Infinity) {
  return (reader) => {
    const head = reader.byte('bytes');
    let size;
    if (head === 0xc4) size = reader.length(1, 0, 'bytes');
    else if (head === 0xc5) size = reader.length(2, 1 << 8, 'bytes');
    else if (head === 0xc6) size = reader.length(4, 1 << 16, 'bytes');
    else return reader.refuse('bytes');
    if (size < least || size > most) reader.refuse(`${least} to ${most} bytes`);
    return reader.take(size, 'bytes');
  };
}

/**
 * Text of a number of characters (not of UTF-16 units) within these limits, perhaps one of a list.
 *
 * @param {number} [least]
 * @param {number} [most]
 * @param {readonly string[]} [admitted]
 * @returns {Type<string>}
 */
export function text(least = 0, most = Infinity, admitted) {
  return (reader) => {
    const head = reader.byte('text');
    let size;
    if (head >= 0xa0 && head <= 0xbf) size = head & 31;
    else if (head === 0xd9) size = reader.length(1, 32, 'text');
    else if (head === 0xda) size = reader.length(2, 1 << 8, 'text');
    else if (head === 0xdb) size = reader.length(4, 1 << 16, 'text');
    else return reader.refuse('text');
    const value = textOf(reader.take(size, 'text'));
    if (value === null) return reader.refuse('UTF-8');
    if (least > 0 || most !== Infinity) {
      let characters = 0;
      for (const _ of value) characters += 1;
      if (characters < least || characters > most) reader.refuse(`${least} to ${most} characters`);
    }
    if (admitted !== undefined && !admitted.includes(value)) reader.refuse(`one of ${admitted.join(', ')}`);
    return value;
  };
}

/** @type {Type<boolean>} */
export function bool(reader) {
  const head = reader.byte('a boolean');
  if (head !== 0xc2 && head !== 0xc3) reader.refuse('a boolean');
  return head === 0xc3;
}

/**
 * A value or nil.
 *
 * @template T
 * @param {Type<T>} type
 * @returns {Type<T | null>}
 */
export function optional(type) {
  return (reader) => {
    if (reader.bytes[reader.at] !== 0xc0) return type(reader);
    reader.at += 1;
    return null;
  };
}

/** @param {Reader} reader */
function arrayLength(reader) {
  const head = reader.byte('an array');
  if (head >= 0x90 && head <= 0x9f) return head & 15;
  if (head === 0xdc) return reader.length(2, 16, 'an array');
  if (head === 0xdd) return reader.length(4, 1 << 16, 'an array');
  return reader.refuse('an array');
}

/**
 * An array of values of one type.
 *
 * @template T
 * @param {Type<T>} type
 * @param {number} [most]
 * @returns {Type<T[]>}
 */
export function list(type, most = Infinity) {
  return (reader) => {
    const count = arrayLength(reader);
    // Each value takes a byte or more: a count alone must not make a verifier work.
    if (count > most || count > reader.bytes.length - reader.at) reader.refuse(`at most ${most} values, all there`);
    const values = [];
    for (let i = 0; i < count; i++) values.push(type(reader));
    return values;
  };
}

/**
 * An array of fixed types, as an array.
 *
 * @param {...Type<any>} types
 * @returns {Type<any[]>}
 */
export function tuple(...types) {
  return (reader) => {
    if (arrayLength(reader) !== types.length) reader.refuse(`an array of ${types.length}`);
    return types.map((type) => type(reader));
  };
}

/**
 * A record: an array of its fields, read as an object of them; `raw` are its canonical bytes.
 *
 * @param {Record<string, Type<any>>} fields  in their order
 * @returns {Type<any>}
 */
export function record(fields) {
  const entries = Object.entries(fields);
  return (reader) => {
    const start = reader.at;
    if (arrayLength(reader) !== entries.length) reader.refuse(`a record of ${entries.length} fields`);
    /** @type {Record<string, unknown>} */
    const value = {};
    for (const [name, type] of entries) value[name] = type(reader);
    value.raw = reader.bytes.subarray(start, reader.at);
    return value;
  };
}

/**
 * Return all of `data` as one value of a type.
 *
 * @template T
 * @param {Type<T>} type
 * @param {Uint8Array} data
 * @param {string} step
 * @returns {T}
 */
export function decode(type, data, step) {
  const reader = new Reader(data, step);
  const value = type(reader);
  if (reader.at !== data.length) reader.refuse('nothing trailing');
  return value;
}

/**
 * @param {number} size
 * @param {[number, number][]} forms  (first byte, bytes of the length), shortest first
 */
function head(size, forms) {
  for (const [first, width] of forms) {
    if (size < 2 ** (8 * width)) {
      return Uint8Array.of(first, ...Array.from({ length: width }, (_, i) => (size / 2 ** (8 * (width - 1 - i))) & 255));
    }
  }
  return refuse('encoding', 'too long');
}

/** @param {bigint} value */
function encodedInteger(value) {
  if (value >= -32n && value < 128n) return Uint8Array.of(Number(value & 255n));
  const width = [1, 2, 4, 8].find((size) => {
    const bits = BigInt(8 * size);
    return value < 0n ? value >= -(1n << (bits - 1n)) : value < 1n << bits;
  });
  if (width === undefined) return refuse('encoding', `no integer of 64 bits: ${value}`);
  const first = (value < 0n ? 0xd0 : 0xcc) + Math.log2(width);
  const digits = Array.from({ length: width }, (_, i) => Number((value >> BigInt(8 * (width - 1 - i))) & 255n));
  return Uint8Array.of(first, ...digits);
}

/**
 * Return the canonical bytes of a BigInt, text, bytes, boolean, null, or array of these.
 *
 * @param {any} value
 * @returns {Uint8Array}
 */
export function encode(value) {
  if (value === null) return Uint8Array.of(0xc0);
  if (typeof value === 'boolean') return Uint8Array.of(value ? 0xc3 : 0xc2);
  if (typeof value === 'bigint') return encodedInteger(value);
  if (value instanceof Uint8Array) {
    return joined(head(value.length, [[0xc4, 1], [0xc5, 2], [0xc6, 4]]), value);
  }
  if (typeof value === 'string') {
    const data = utf8(value);
    const short = data.length < 32;
    return joined(short ? Uint8Array.of(0xa0 | data.length) : head(data.length, [[0xd9, 1], [0xda, 2], [0xdb, 4]]), data);
  }
  if (!Array.isArray(value)) return refuse('encoding', `nothing that has a canonical form: ${typeof value}`);
  const short = value.length < 16;
  return joined(
    short ? Uint8Array.of(0x90 | value.length) : head(value.length, [[0xdc, 2], [0xdd, 4]]),
    ...value.map(encode),
  );
}
