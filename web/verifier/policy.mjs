/**
 * What a verifier trusts: a C2SP tlog-policy with the chain's lines of epochs, and the judging of checkpoints by it.
 *
 * Where a policy lists epochs, the validators of each count for the sizes of its own term alone, and handovers that come
 * with a proof may lead to later epochs. Source: C2SP tlog-policy; docs/formats.md, Policies.
 *
 * @typedef {import('./keys.mjs').Crypto} Crypto
 * @typedef {import('./notes.mjs').NoteKey} NoteKey
 * @typedef {import('./notes.mjs').Checkpoint} Checkpoint
 * @typedef {import('./validators.mjs').Span} Span
 * @typedef {{threshold: number, members: string[]}} Group
 * @typedef {object} Policy
 * @property {NoteKey[]} logs
 * @property {Map<string, NoteKey>} witnesses
 * @property {Map<string, Group>} groups  each names only what stands above it
 * @property {string} quorum
 * @property {Span[]} epochs
 * @typedef {object} Checked
 * @property {Checkpoint} checkpoint
 * @property {bigint | null} epoch  of the validators who cosigned; null where the policy names no epochs
 * @property {number} witnesses  how many the policy would have heard
 * @property {string[]} cosigners
 * @property {bigint} firstSecond  earliest and latest time of a cosignature, in seconds since 1970
 * @property {bigint} lastSecond
 */

import { fromBase64, fromHex, hex } from './bytes.mjs';
import { decode } from './msgpack.mjs';
import {
  checkLogSignature, COSIGNER, cosignatureTime, LOG, noteKey, parseCheckpoint, parseNote, parseVkey, signatureBy,
} from './notes.mjs';
import { validatorSet } from './records.mjs';
import { check, refuse, shown } from './refused.mjs';
import { checkSet, follow, quorumOf } from './validators.mjs';

const POLICY_MAX = 4 << 20;
const SET_BYTES_MAX = 1 << 17;
const SIZE_MAX = 2n ** 63n - 1n;
const NONE = 'none';
const MARK = '#chainnode';
const FORBIDDEN = /[\0-\x08\x0b-\x1f\x7f]/;
const STEP = 'policy';

/** @param {Span} span */
function groupOf(span) {
  return `validators-of-epoch-${span.epoch}`;
}

/** The name of the chain and its id, of an origin `NAME/CHAIN_ID`. */
function partsOf(origin) {
  const match = /^(.*)\/([0-9a-f]{64})$/su.exec(origin);
  if (!match) return refuse(STEP, `the origin has no chain id: ${shown(origin)}`);
  return { chain: match[1], chainId: fromHex(match[2]) };
}

/**
 * @param {Crypto} crypto
 * @param {string} text
 * @returns {Policy}
 */
export function parsePolicy(crypto, text) {
  check(text.length <= POLICY_MAX, STEP, 'the policy is too large');
  const reading = { logs: [], witnesses: new Map(), groups: new Map(), quorum: '', epochs: [] };
  const taken = { keys: new Set(), grouped: new Set() };
  for (const line of text.split('\n')) {
    check(!FORBIDDEN.test(line), STEP, 'a control character');
    const words = line.split(/[ \t]+/).filter((word) => word !== '');
    if (words[0] === MARK) reading.epochs.push(parseEpoch(words, reading.epochs));
    else if (words.length && !words[0].startsWith('#')) parseLine(crypto, reading, taken, words);
  }
  check(reading.quorum !== '', STEP, 'a policy needs one line: quorum NAME');
  if (reading.epochs.length) checkPresent(crypto, reading, reading.epochs[reading.epochs.length - 1]);
  return reading;
}

function parseLine(crypto, policy, taken, words) {
  const [word, name, ...rest] = words;
  const shape = `${word} ${words.length}`;
  if (shape === 'log 2' || shape === 'log 3') {
    policy.logs.push(newKey(crypto, taken.keys, name, LOG));
  } else if (shape === 'witness 3' || shape === 'witness 4') {
    const key = newKey(crypto, taken.keys, rest[0], COSIGNER);
    checkNewName(policy, name);
    policy.witnesses.set(name, key);
  } else if (word === 'group' && words.length >= 4) {
    const members = rest.slice(1);
    checkNewName(policy, name);
    for (const member of members) {
      check(isKnown(policy, member), STEP, `not defined above: ${shown(member)}`);
      check(!taken.grouped.has(member), STEP, `in two places of groups: ${shown(member)}`);
      taken.grouped.add(member);
    }
    policy.groups.set(name, { threshold: parseThreshold(rest[0], members.length), members });
  } else if (shape === 'quorum 2') {
    check(policy.quorum === '', STEP, 'a second quorum');
    check(name === NONE || isKnown(policy, name), STEP, `not defined above: ${shown(name)}`);
    policy.quorum = name;
  } else {
    refuse(STEP, `a line that is not understood: ${shown(words.join(' '))}`);
  }
}

function newKey(crypto, taken, vkey, type) {
  const key = parseVkey(crypto, vkey, STEP);
  check(key.type === type, STEP, `the key ${shown(key.name)} is of another type`);
  const nameless = `${type} ${hex(key.key)}`;
  check(!taken.has(nameless), STEP, `the key ${shown(key.name)} stands twice`);
  taken.add(nameless);
  return key;
}

function isKnown(policy, name) {
  return policy.witnesses.has(name) || policy.groups.has(name);
}

function checkNewName(policy, name) {
  check(name !== NONE && !isKnown(policy, name), STEP, `the name is taken: ${shown(name)}`);
}

function parseThreshold(text, count) {
  if (text === 'all') return count;
  if (text === 'any') return 1;
  const threshold = /^[1-9][0-9]{0,5}$/.test(text) ? Number(text) : 0;
  check(threshold >= 1 && threshold <= count, STEP, `not a threshold of ${count}: ${shown(text)}`);
  return threshold;
}

/** The span of the words of `#chainnode epoch NUMBER from SIZE BASE64`, which follows on those before. */
function parseEpoch(words, before) {
  check(words.length === 6 && words[1] === 'epoch' && words[3] === 'from', STEP, 'not a line of an epoch');
  const sizeMin = /^[1-9][0-9]{0,18}$/.test(words[4]) ? BigInt(words[4]) : 0n;
  check(sizeMin >= 1n && sizeMin <= SIZE_MAX, STEP, `not the size of an epoch's first log: ${shown(words[4])}`);
  const data = fromBase64(words[5], STEP);
  check(data.length <= SET_BYTES_MAX, STEP, 'a set is too large');
  const { epoch, validators } = decode(validatorSet, data, STEP);
  checkSet(epoch, validators);
  check(words[2] === String(epoch), STEP, `the line says epoch ${shown(words[2])} of the set of epoch ${epoch}`);
  if (before.length) {
    const last = before[before.length - 1];
    check(epoch === last.epoch + 1n && sizeMin > last.sizeMin, STEP, `epoch ${epoch} does not follow ${last.epoch}`);
  }
  return { epoch, sizeMin, validators };
}

/** Throw `Refused` unless the group of the last epoch says of its validators what the epoch's line says. */
function checkPresent(crypto, policy, span) {
  const group = policy.groups.get(groupOf(span));
  const origins = new Set(policy.logs.map(({ name }) => name));
  if (!group || origins.size !== 1) return refuse(STEP, `epoch ${span.epoch} without its group, or not one log`);
  const { chain } = partsOf([...origins][0]);
  const spelled = (key) => `${key.name} ${hex(key.key)}`;
  const named = new Set(span.validators.map((each) => spelled(cosignerOf(crypto, chain, each))));
  const listed = new Set(group.members.filter((name) => policy.witnesses.has(name))
    .map((name) => spelled(policy.witnesses.get(name))));
  const alike = listed.size === named.size && [...listed].every((key) => named.has(key));
  const count = span.validators.length;
  const fits = alike && group.members.length === count && group.threshold === quorumOf(count);
  return check(fits, STEP, `the group ${groupOf(span)} is not the epoch's`);
}

function cosignerOf(crypto, chain, validator) {
  return noteKey(crypto, `${chain}/${validator.name}`, COSIGNER, validator.cosign_key, STEP);
}

/**
 * Return the checkpoint of a note that the policy accepts: a log of it signed the note and the quorum cosigned it.
 *
 * A signature of a known key that does not hold refuses the note; those of unknown keys count for nothing.
 *
 * @param {Crypto} crypto
 * @param {Policy} policy
 * @param {string} noteText
 * @param {any[]} [handovers]
 * @returns {Checked}
 */
export function checkCheckpoint(crypto, policy, noteText, handovers = []) {
  const note = parseNote(noteText);
  const checkpoint = parseCheckpoint(note.text);
  const { origin, size } = checkpoint;
  check(policy.logs.some(({ name }) => name === origin), 'origin', `not a log of the policy: ${shown(origin)}`);
  if (!policy.epochs.length) return judge(crypto, policy, note, checkpoint, null);
  const { chain, chainId } = partsOf(origin);
  const present = policy.epochs[policy.epochs.length - 1];
  const newer = handovers.filter(({ header }) => header.epoch >= present.epoch);
  const spans = [...policy.epochs.slice(0, -1), ...follow(crypto, present, chainId, newer)];
  const span = spans.filter(({ sizeMin }) => sizeMin <= size).pop();
  if (!span) return refuse('epoch', `a checkpoint of ${size} leaves lies before the epochs of the policy`);
  const inForce = span.epoch === present.epoch ? policy : withSet(crypto, policy, span, chain);
  const known = new Set(policy.logs.map(({ key }) => hex(key)));
  const further = [];
  for (const { log_key: key } of spans.flatMap(({ validators }) => validators)) {
    if (known.has(hex(key))) continue;
    known.add(hex(key));
    further.push(noteKey(crypto, origin, LOG, key, 'handovers'));
  }
  return judge(crypto, { ...inForce, logs: [...policy.logs, ...further] }, note, checkpoint, span.epoch);
}

/** The policy with the validators of another epoch in the place of its own; whatever else it demands stays. */
function withSet(crypto, policy, span, chain) {
  const name = groupOf(policy.epochs[policy.epochs.length - 1]);
  const replaced = new Set(policy.groups.get(name)?.members);
  const witnesses = new Map([...policy.witnesses].filter(([witness]) => !replaced.has(witness)));
  const taken = new Set([...witnesses.keys(), ...policy.groups.keys()]);
  const cosigners = new Map();
  for (const validator of span.validators) {
    let free = validator.name;
    while (taken.has(free)) free += `@${span.epoch}`;
    cosigners.set(free, cosignerOf(crypto, chain, validator));
  }
  const group = { threshold: quorumOf(span.validators.length), members: [...cosigners.keys()] };
  const groups = new Map([...policy.groups].map(([each, old]) => [each, each === name ? group : old]));
  return { ...policy, witnesses: new Map([...witnesses, ...cosigners]), groups };
}

function judge(crypto, policy, note, checkpoint, epoch) {
  const signed = policy.logs.filter((key) => key.name === checkpoint.origin && signatureBy(note, key));
  check(signed.length > 0, 'log signature', 'no log of the policy signed the checkpoint');
  for (const key of signed) checkLogSignature(crypto, note, key, signatureBy(note, key));
  const times = new Map();
  for (const [name, key] of policy.witnesses) {
    const signature = signatureBy(note, key);
    if (signature) times.set(name, cosignatureTime(crypto, note, key, signature));
  }
  // A group names only what stands above it, so one pass decides all of them.
  const holding = new Set(times.keys());
  for (const [name, { threshold, members }] of policy.groups) {
    if (members.filter((member) => holding.has(member)).length >= threshold) holding.add(name);
  }
  const enough = policy.quorum === NONE || holding.has(policy.quorum);
  check(enough, 'cosignatures', `too few for the quorum ${shown(policy.quorum)}: ${[...times.keys()].join(', ') || 'none'}`);
  const ordered = [...times.values()].sort((a, b) => (a < b ? -1 : Number(a > b)));
  return {
    checkpoint,
    epoch,
    witnesses: policy.witnesses.size,
    cosigners: [...times.keys()],
    firstSecond: ordered[0] ?? 0n,
    lastSecond: ordered[ordered.length - 1] ?? 0n,
  };
}
