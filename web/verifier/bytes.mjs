/**
 * Bytes: hex, base64 in its one spelling, UTF-8, comparison.
 *
 * Strings of JavaScript are UTF-16 and may hold half a character; all of that is refused at the entrance (`verify.mjs`),
 * so that the text that is verified is the text that was signed.
 */

import { check, refuse, shown } from './refused.mjs';

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
const VALUES = new Map([...ALPHABET].map((character, value) => [character.charCodeAt(0), value]));
const PADDING = '='.charCodeAt(0);
const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** @param {Uint8Array} bytes */
export function hex(bytes) {
  let text = '';
  for (const byte of bytes) text += HEX[byte];
  return text;
}

/**
 * The bytes of lower-case hex digits.
 *
 * @param {string} text
 */
export function fromHex(text) {
  check(/^(?:[0-9a-f]{2})*$/.test(text), 'input', `not lower-case hex: ${shown(text)}`);
  return Uint8Array.from({ length: text.length / 2 }, (_, i) => Number.parseInt(text.slice(2 * i, 2 * i + 2), 16));
}

/** @param {string} text */
export function utf8(text) {
  return encoder.encode(text);
}

/**
 * The text of bytes, or null where they are not UTF-8.
 *
 * @param {Uint8Array} bytes
 */
export function textOf(bytes) {
  try {
    return decoder.decode(bytes);
  } catch {
    return null;
  }
}

/** @param {...Uint8Array} parts */
export function joined(...parts) {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/**
 * @param {Uint8Array} a
 * @param {Uint8Array} b
 */
export function same(a, b) {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/**
 * Order of two texts by code points, which is that of their UTF-8; `<` on strings orders by UTF-16.
 *
 * @param {string} a
 * @param {string} b
 * @returns {number} below, at or above zero
 */
export function compareText(a, b) {
  const [left, right] = [utf8(a), utf8(b)];
  for (let i = 0; i < left.length && i < right.length; i++) if (left[i] !== right[i]) return left[i] - right[i];
  return left.length - right.length;
}

/** @param {Uint8Array} bytes */
export function base64(bytes) {
  let text = '';
  for (let i = 0; i < bytes.length; i += 3) {
    const left = bytes.length - i;
    const group = (bytes[i] << 16) | ((left > 1 ? bytes[i + 1] : 0) << 8) | (left > 2 ? bytes[i + 2] : 0);
    text += ALPHABET[group >> 18] + ALPHABET[(group >> 12) & 63];
    text += left > 1 ? ALPHABET[(group >> 6) & 63] : '=';
    text += left > 2 ? ALPHABET[group & 63] : '=';
  }
  return text;
}

/**
 * The bytes of standard base64 with padding, in its one spelling: set bits under the padding are refused, as other
 * texts would stand for the same bytes.
 *
 * @param {string} text
 * @param {string} step
 */
export function fromBase64(text, step) {
  const { length } = text;
  if (length % 4) refuse(step, `not base64: ${shown(text)}`);
  let padding = 0;
  while (padding < 2 && padding < length && text.charCodeAt(length - 1 - padding) === PADDING) padding += 1;
  const bytes = new Uint8Array((length / 4) * 3 - padding);
  let at = 0;
  for (let i = 0; i < length; i += 4) {
    let group = 0;
    for (let j = i; j < i + 4; j++) {
      const value = j >= length - padding ? 0 : VALUES.get(text.charCodeAt(j));
      if (value === undefined) refuse(step, `not base64: ${shown(text)}`);
      group = (group << 6) | value;
    }
    const unused = at + 3 - bytes.length;
    if (unused > 0 && group & ((1 << (8 * unused)) - 1)) refuse(step, `not canonical base64: ${shown(text)}`);
    for (let j = 16; j >= 0 && at < bytes.length; j -= 8) bytes[at++] = (group >> j) & 255;
  }
  return bytes;
}

/** @param {Uint8Array} bytes big-endian */
export function bigEndian(bytes) {
  return bytes.length ? BigInt(`0x${hex(bytes)}`) : 0n;
}

/** @param {Uint8Array} bytes little-endian */
export function littleEndian(bytes) {
  return bigEndian(bytes.slice().reverse());
}
