/** Times as RFC 3339 on one side, milliseconds since 1970 UTC as BigInt on the other. Nothing here reads a clock. */

import { TIME_MS_MAX } from './records.mjs';
import { check, refuse, shown } from './refused.mjs';

const TIME = /^(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,9}))?(?:Z|([+-])(\d{2}):(\d{2}))$/;
const OFFSET_MINUTES_MAX = 14 * 60;

/**
 * The milliseconds of a time such as 2026-04-13T10:30:00.5+08:00; finer digits are cut.
 *
 * @param {string} text
 * @returns {bigint}
 */
export function parseTime(text) {
  const match = TIME.exec(text);
  if (!match) return refuse('input', `not a time: ${shown(text)}`);
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map(Number);
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  date.setUTCHours(hour, minute, second, Number((match[7] ?? '').padEnd(3, '0').slice(0, 3)));
  const offset = Number(match[9] ?? 0) * 60 + Number(match[10] ?? 0);
  const real = date.getUTCFullYear() === year && date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
  const inDay = hour < 24 && minute < 60 && second < 60 && offset <= OFFSET_MINUTES_MAX;
  const time = BigInt(date.getTime()) - BigInt(match[8] === '-' ? -offset : offset) * 60_000n;
  check(real && inDay && time >= 0n && time <= TIME_MS_MAX, 'input', `not a time: ${shown(text)}`);
  return time;
}

/**
 * Milliseconds as RFC 3339 in UTC, with the milliseconds only where there are some.
 *
 * What lies beyond the last time that can be written comes out as that one: a cosigner may claim any time.
 *
 * @param {bigint} time
 * @returns {string}
 */
export function formatTime(time) {
  check(time >= 0n, 'time', `no time that RFC 3339 can write: ${time}`);
  return new Date(Number(time > TIME_MS_MAX ? TIME_MS_MAX : time)).toISOString().replace('.000Z', 'Z');
}
