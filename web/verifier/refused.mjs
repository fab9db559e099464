/**
 * The one error of this verifier: which step failed, and what was wrong there.
 *
 * Every function below either returns what is proved or throws this.
 */

export class Refused extends Error {
  /**
   * @param {string} step  which step of the verification failed, such as `policy`, `cosignatures`, `outcome`
   * @param {string} what  what was wrong, in a sentence
   */
  constructor(step, what) {
    super(`${step}: ${what}`);
    this.name = 'Refused';
    this.step = step;
    this.what = what;
  }
}

const SHOWN_MAX = 120;

/**
 * Throw `Refused`.
 *
 * @param {string} step
 * @param {string} what
 * @returns {never}
 */
export function refuse(step, what) {
  throw new Refused(step, what);
}

/**
 * Throw `Refused` unless a condition holds.
 *
 * @param {boolean} holds
 * @param {string} step
 * @param {string} what
 */
export function check(holds, step, what) {
  if (!holds) refuse(step, what);
}

/**
 * A text of somebody else's as one short printable line: an escape sequence would repaint a terminal.
 *
 * @param {unknown} value
 */
export function shown(value) {
  const line = String(value).replace(/[\p{C}\p{Z}]+/gu, ' ');
  return line.length > SHOWN_MAX ? `${line.slice(0, SHOWN_MAX)}…` : line;
}
