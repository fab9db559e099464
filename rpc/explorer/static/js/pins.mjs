/**
 * What the reader of this browser holds on to: the policy that they pinned, the newest checkpoint that it accepted, and
 * an alarm until they put it away.
 *
 * Kept in the storage of this site, so for one node. What is there and cannot be read is an error and never a silent
 * new start. Nothing here verifies anything.
 *
 * @typedef {{policy: string, hash: string, from: string, by: string, at: string}} Pin  `at` is RFC 3339
 * @typedef {{note: string, size: string, root: string, at: string}} Seen  `size` in decimal, `root` in hex
 * @typedef {{relation: string, what: string, at: string, older: string, newer: string}} Alarm  both signed notes
 */

import { hex, utf8 } from '../verifier/bytes.mjs';
import { sha256 } from '../verifier/sha256.mjs';

const PIN = 'chainnode.pin.v1';
const SEEN = 'chainnode.seen.v1';
const ALARM = 'chainnode.alarm.v1';
const FIELDS = {
  [PIN]: ['policy', 'hash', 'from', 'by', 'at'],
  [SEEN]: ['note', 'size', 'root', 'at'],
  [ALARM]: ['relation', 'what', 'at', 'older', 'newer'],
};

/** What was kept is not what was written. */
export class Damaged extends Error {}

/**
 * The SHA-256 of a policy's bytes in hex, as `sha256sum` of the file gives it.
 *
 * @param {string} policy
 */
export function hashOf(policy) {
  return hex(sha256(utf8(policy)));
}

export class Pins {
  /** @param {Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>} storage */
  constructor(storage) {
    this.storage = storage;
  }

  /** @returns {Pin | null} */
  get pin() {
    const pin = this.#read(PIN);
    if (pin && hashOf(pin.policy) !== pin.hash) throw new Damaged('the pinned policy has not the hash it was pinned by');
    return pin;
  }

  /** @returns {Seen | null} */
  get seen() {
    const seen = this.#read(SEEN);
    if (seen && !/^[0-9]{1,19}$/.test(seen.size)) throw new Damaged('the size of the last checkpoint is no number');
    return seen;
  }

  /** @returns {Alarm | null} */
  get alarm() {
    return this.#read(ALARM);
  }

  /**
   * Pin a policy in the place of the one before; what was seen under that one counts no more.
   *
   * @param {string} policy
   * @param {{from: string, by: string, at: string}} origin  where it came from, who vouches for it, when
   */
  set(policy, { from, by, at }) {
    this.storage.removeItem(SEEN);
    this.storage.setItem(PIN, JSON.stringify({ policy, hash: hashOf(policy), from, by, at }));
  }

  /** Forget policy and checkpoint; an alarm stays. */
  forget() {
    this.storage.removeItem(PIN);
    this.storage.removeItem(SEEN);
  }

  /**
   * Keep a checkpoint that was proved to extend the one kept; a smaller one changes nothing, as another tab may be ahead.
   *
   * @param {{size: bigint, root: Uint8Array}} checkpoint
   * @param {string} note
   * @param {string} at
   */
  advance({ size, root }, note, at) {
    const seen = this.seen;
    if (seen && BigInt(seen.size) > size) return;
    this.storage.setItem(SEEN, JSON.stringify({ note, size: String(size), root: hex(root), at }));
  }

  /** @param {Alarm} alarm  the first one stays until it is put away */
  raise(alarm) {
    if (this.alarm === null) this.storage.setItem(ALARM, JSON.stringify(alarm));
  }

  putAway() {
    this.storage.removeItem(ALARM);
  }

  #read(name) {
    const text = this.storage.getItem(name);
    if (text === null) return null;
    let value;
    try {
      value = JSON.parse(text);
    } catch {
      throw new Damaged(`what this browser keeps as ${name} cannot be read`);
    }
    if (!FIELDS[name].every((field) => typeof value?.[field] === 'string')) {
      throw new Damaged(`what this browser keeps as ${name} is not whole`);
    }
    return value;
  }
}

/** Storage of one page's life, for browsers that keep nothing. */
export function passingStorage() {
  const kept = new Map();
  return {
    getItem: (name) => kept.get(name) ?? null,
    setItem: (name, value) => void kept.set(name, String(value)),
    removeItem: (name) => void kept.delete(name),
  };
}
