/**
 * Whether a text that a reader sees says a value: the value itself, or one of the few ways in which pages write it.
 *
 * A mark in HTML says which value an element shows; what people read is its text. Words of closed sets come from the
 * catalogue of the pages' language, which is served with the scripts.
 */

import { fromHex } from '../verifier/bytes.mjs';

const TIME = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?Z$/;
const SHORT_AT = 18;
const ROW = 16;
// Which words name a value, by the last part of the field's name.
const GROUPS = {
  side: ['side'],
  status: ['status', 'payment_status'],
  channel: ['channel'],
  role: ['agent_role', 'role'],
  roles: ['role'],
  kind: ['kind', 'evidence_kind'],
  outcome: ['outcome'],
  agree: ['payment'],
};
// Words for what is true, false or not there, where a field has its own.
const OWN = {
  valid: { true: 'certificate.counts', false: 'certificate.counts_not' },
  exists: { false: 'certificate.none_then' },
  revocation_due: { true: 'certificate.revocation_due' },
  amount: { '': 'payment.committed' },
};

// Texts around a value.
const WITHIN = { catalogue: 'certificate.catalogue', schema: 'event.schema', index: 'event.index' };

/**
 * @param {string} text  without the spaces around and between
 * @param {string} value
 * @param {string} name  of the field
 * @param {Record<string, string>} words
 */
export function saysValue(text, value, name, words) {
  const field = /^(?:agree\.|together$)/.test(name) ? 'agree' : name.split('.').filter((part) => !/^\d+$/.test(part)).pop() ?? name;
  return waysOf(value, field, words).some((way) => squeezed(way) === text);
}

function waysOf(value, field, words) {
  const own = words[OWN[field]?.[value]];
  if (value === '') return [words.none, own].filter((way) => way !== undefined);
  const ways = [value, ...(GROUPS[field] ?? []).map((group) => words[`${group}.${value}`] ?? value)];
  if (own !== undefined) ways.push(own);
  if (value === 'true' || value === 'false') ways.push(words[value === 'true' ? 'yes' : 'no'] ?? value);
  if (/^\d+$/.test(value)) ways.push(value.replace(/\B(?=(?:\d{3})+$)/g, ','), value.padStart(2, '0'));
  if (TIME.test(value)) ways.push(`${value.slice(0, 19).replace('T', ' ')} UTC`, value.slice(0, 10));
  if (value.length > SHORT_AT) ways.push(`${value.slice(0, 10)}\u2026${value.slice(-6)}`);
  if (Object.hasOwn(WITHIN, field)) ways.push(words[WITHIN[field]]?.replace(/\{[a-z]+\}/, value) ?? value);
  if (/leaf$/.test(field)) ways.push(hexdump(fromHex(value)));
  return ways;
}

/** Lines of offset, hex digits and printable characters. */
export function hexdump(bytes) {
  const lines = [];
  for (let start = 0; start < bytes.length; start += ROW) {
    const row = [...bytes.subarray(start, start + ROW)];
    const digits = row.map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
    const printable = row.map((byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : '.')).join('');
    lines.push(`${start.toString(16).padStart(6, '0')}  ${digits.padEnd(ROW * 3 - 1)}  ${printable}`);
  }
  return lines.join('\n');
}

// Controls, what turns directions around, joins or spaces without a width, tags, surrogates.
const UNSEEN =
  /[\0-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;

/** A text with the characters that nobody sees written out, as pages write it wherever they show it. */
export function writtenOut(text) {
  return text.replace(UNSEEN, (found) => `\u27e8U+${found.codePointAt(0).toString(16).toUpperCase().padStart(4, '0')}\u27e9`);
}

/** A text with its runs of space as one. */
export function squeezed(text) {
  return text.replace(/\s+/g, ' ').trim();
}
