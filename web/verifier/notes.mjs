/**
 * Signed notes, verifier keys, checkpoints and cosignatures, to the letter of C2SP.
 *
 * Here: their text, and whether a key signed it. Which keys suffice is the policy's to say (`policy.mjs`). Source: C2SP
 * signed-note, tlog-checkpoint, tlog-cosignature (v1, Ed25519).
 *
 * @typedef {import('./keys.mjs').Crypto} Crypto
 * @typedef {{name: string, type: number, key: Uint8Array, id: string}} NoteKey  `id` in hex
 * @typedef {{name: string, id: string, signature: Uint8Array}} SignatureLine
 * @typedef {{text: string, lines: SignatureLine[]}} Note  `text` is what was signed
 * @typedef {{origin: string, size: bigint, root: Uint8Array}} Checkpoint
 */

import { base64, bigEndian, fromBase64, hex, joined, utf8 } from './bytes.mjs';
import { isSignedBy } from './keys.mjs';
import { SIZE_MAX } from './merkle.mjs';
import { check, refuse, shown } from './refused.mjs';

export const LOG = 1;
export const COSIGNER = 4;
const NOTE_BYTES_MAX = 65_536;
const LINES_MAX = 256;
const MARK = '\u2014 ';
// What Unicode counts as space, and a plus, cannot stand in the name of a key.
const NAME = /^[^+\0-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+$/u;
const CONTROL = /[\0-\x09\x0b-\x1f]/;
const DECIMAL = /^(?:0|[1-9][0-9]{0,18})$/;

/** @param {string} name */
export function isKeyName(name) {
  return NAME.test(name);
}

/**
 * A key under its name; its id goes into signature lines.
 *
 * @param {Crypto} crypto
 * @param {string} name
 * @param {number} type
 * @param {Uint8Array} key
 * @param {string} step
 * @returns {NoteKey}
 */
export function noteKey(crypto, name, type, key, step) {
  check(isKeyName(name), step, `not the name of a key: ${shown(name)}`);
  check((type === LOG || type === COSIGNER) && key.length === 32, step, `type or length of the key ${shown(name)}`);
  const id = crypto.sha256(joined(utf8(name), Uint8Array.of(10, type), key)).subarray(0, 4);
  return { name, type, key, id: hex(id) };
}

/**
 * The key of `NAME+ID+BASE64`.
 *
 * @param {Crypto} crypto
 * @param {string} text
 * @param {string} step
 */
export function parseVkey(crypto, text, step) {
  const match = /^([^+]*)\+([^+]*)\+(.*)$/su.exec(text);
  if (!match) return refuse(step, `not a verifier key: ${shown(text)}`);
  const data = fromBase64(match[3], step);
  check(data.length > 0, step, 'a verifier key is empty');
  const key = noteKey(crypto, match[1], data[0], data.subarray(1), step);
  check(key.id === match[2], step, `the id of the key ${shown(key.name)} does not fit`);
  return key;
}

/**
 * @param {string} text
 * @returns {Note}
 */
export function parseNote(text) {
  const step = 'note';
  check(text.length <= NOTE_BYTES_MAX && utf8(text).length <= NOTE_BYTES_MAX, step, 'the note is too long');
  check(!CONTROL.test(text), step, 'the note holds control characters');
  const cut = text.lastIndexOf('\n\n');
  check(cut >= 0 && text.endsWith('\n'), step, 'not a signed note: a text, an empty line and signature lines');
  const lines = text.slice(cut + 2).split('\n').slice(0, -1);
  check(lines.length >= 1 && lines.length <= LINES_MAX, step, `a note has 1 to ${LINES_MAX} signature lines`);
  return { text: text.slice(0, cut + 1), lines: lines.map(parseLine) };
}

/**
 * @param {string} line
 * @returns {SignatureLine}
 */
function parseLine(line) {
  const step = 'note';
  check(line.startsWith(MARK), step, `not a signature line: ${shown(line)}`);
  const space = line.indexOf(' ', MARK.length);
  check(space > 0, step, `not a signature line: ${shown(line)}`);
  const name = line.slice(MARK.length, space);
  const data = fromBase64(line.slice(space + 1), step);
  check(isKeyName(name) && data.length > 4, step, `not a signature line: ${shown(line)}`);
  return { name, id: hex(data.subarray(0, 4)), signature: data.subarray(4) };
}

/**
 * The checkpoint of a note's text, which has three lines; this chain uses no extension lines.
 *
 * @param {string} text
 * @returns {Checkpoint}
 */
export function parseCheckpoint(text) {
  const step = 'checkpoint';
  const lines = text.split('\n');
  check(lines.length === 4 && lines[3] === '' && lines[0] !== '', step, 'not the three lines origin, size, root');
  check(DECIMAL.test(lines[1]), step, `not a size: ${shown(lines[1])}`);
  const [size, root] = [BigInt(lines[1]), fromBase64(lines[2], step)];
  check(size <= SIZE_MAX, step, `a log of ${size} leaves is too large`);
  check(root.length === 32, step, 'the root has not 32 bytes');
  return { origin: lines[0], size, root };
}

/** @param {Checkpoint} checkpoint */
export function checkpointText({ origin, size, root }) {
  return `${origin}\n${size}\n${base64(root)}\n`;
}

/**
 * The signature of a key on a note: the first where it stands twice.
 *
 * @param {Note} note
 * @param {NoteKey} key
 * @returns {Uint8Array | undefined}
 */
export function signatureBy(note, key) {
  return note.lines.find((line) => line.id === key.id && line.name === key.name)?.signature;
}

/**
 * Throw `Refused` unless the log's signature holds.
 *
 * @param {Crypto} crypto
 * @param {Note} note
 * @param {NoteKey} key
 * @param {Uint8Array} signature
 */
export function checkLogSignature(crypto, note, key, signature) {
  check(isSignedBy(crypto, key.key, utf8(note.text), signature), 'log signature', 'the signature does not verify');
}

/**
 * The time in seconds of a cosignature that holds; throws `Refused` for any other.
 *
 * @param {Crypto} crypto
 * @param {Note} note
 * @param {NoteKey} key
 * @param {Uint8Array} signature  8 bytes of time and the signature
 */
export function cosignatureTime(crypto, note, key, signature) {
  const step = 'cosignatures';
  check(signature.length === 72, step, `the cosignature of ${shown(key.name)} has a wrong length`);
  const time = bigEndian(signature.subarray(0, 8));
  check(time <= SIZE_MAX, step, `the time of ${shown(key.name)} is out of range`);
  const statement = utf8(`cosignature/v1\ntime ${time}\n${note.text}`);
  const holds = isSignedBy(crypto, key.key, statement, signature.subarray(8));
  check(holds, step, `the cosignature of ${shown(key.name)} does not verify`);
  return time;
}
