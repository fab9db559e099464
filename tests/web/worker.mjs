// Answers one line of JSON with another, for tests that would otherwise start Node thousands of times.

import { createInterface } from 'node:readline';

import { nodeCrypto } from '../../web/verifier/adapters/node.mjs';
import { withWebCrypto } from '../../web/verifier/adapters/webcrypto.mjs';
import { fromBase64, fromHex, hex } from '../../web/verifier/bytes.mjs';
import { isRegistrable, isSignedBy } from '../../web/verifier/keys.mjs';
import { checkConsistency, checkInclusion, checkRange } from '../../web/verifier/merkle.mjs';
import { bool, bytes, decode, encode, int, list, optional, text, tuple } from '../../web/verifier/msgpack.mjs';
import { parseNote, parseVkey } from '../../web/verifier/notes.mjs';
import { parsePolicy } from '../../web/verifier/policy.mjs';
import { sha256 } from '../../web/verifier/sha256.mjs';
import { checkState } from '../../web/verifier/states.mjs';
import { formatTime, parseTime } from '../../web/verifier/times.mjs';
import { json, Refused, verify, verifyConsistency, verifyStateProof } from '../../web/verifier/verify.mjs';
import { JUDGES } from './vectors.mjs';

const TYPES = { bool, bytes, int, list, optional, text, tuple };
const cryptos = { node: nodeCrypto, pages: { ...nodeCrypto, sha256 } };
const texts = new Map(); // policies and proofs that are asked about again and again

function typeOf([name, ...parts]) {
  if (name === 'bool') return bool;
  return TYPES[name](...parts.map((part) => (Array.isArray(part) ? typeOf(part) : name === 'int' ? BigInt(part) : part)));
}

function plain(value) {
  if (value instanceof Uint8Array) return { hex: hex(value) };
  return Array.isArray(value) ? value.map(plain) : value;
}

function valueOf(value) {
  if (Array.isArray(value)) return value.map(valueOf);
  if (value !== null && typeof value === 'object') return 'hex' in value ? fromHex(value.hex) : BigInt(value.int);
  return value;
}

const hashes = (items) => items.map(fromHex);

const ANSWERS = {
  keep: ({ name, text: kept }) => void texts.set(name, kept),
  verify: ({ proof, policy, options }, crypto) =>
    verify(texts.get(proof) ?? proof, texts.get(policy) ?? policy, { ...options, crypto }),
  verifyLater: ({ proof, policy, options }) =>
    withWebCrypto((crypto) => verify(texts.get(proof) ?? proof, texts.get(policy) ?? policy, { ...options, crypto })),
  verifyState: ({ proof, policy }, crypto) => verifyStateProof(proof, texts.get(policy), { crypto }),
  consistency: ({ older, newer, path, policy }, crypto) =>
    verifyConsistency(older, newer, hashes(path), policy, { crypto }),
  vector: ({ kind, inputs }, crypto) => JUDGES[kind](inputs, crypto),
  policy: ({ policy }, crypto) => void parsePolicy(crypto, policy),
  note: ({ note }) => parseNote(note).lines.length,
  vkey: ({ vkey }, crypto) => parseVkey(crypto, vkey, 'key').name,
  merkleInclusion: ({ root, size, index, leaf, path }, crypto) =>
    checkInclusion(crypto, fromHex(root), BigInt(size), BigInt(index), fromHex(leaf), hashes(path), 'inclusion'),
  merkleConsistency: ({ size1, root1, size2, root2, path }, crypto) =>
    checkConsistency(crypto, BigInt(size1), fromHex(root1), BigInt(size2), fromHex(root2), hashes(path)),
  merkleRange: ({ root, size, start, leaves, before, after }, crypto) =>
    checkRange(crypto, fromHex(root), BigInt(size), BigInt(start), hashes(leaves), hashes(before), hashes(after), 'range'),
  state: ({ root, key, value, siblings, other }, crypto) =>
    checkState(crypto, fromHex(root), fromHex(key), value === null ? null : fromHex(value), {
      siblings: hashes(siblings),
      other: other === null ? null : hashes(other),
    }),
  signed: ({ key, message, signature }, crypto) =>
    isSignedBy(crypto, fromHex(key), fromHex(message), fromHex(signature)),
  registrable: ({ key }) => isRegistrable(fromHex(key)),
  base64: ({ text: encoded }) => hex(fromBase64(encoded, 'base64')),
  sha256: ({ data }) => hex(sha256(fromHex(data))),
  encode: ({ value }) => hex(encode(valueOf(value))),
  decode: ({ type, data }) => plain(decode(typeOf(type), fromHex(data), 'decoding')),
  parseTime: ({ time }) => parseTime(time),
  formatTime: ({ ms }) => formatTime(BigInt(ms)),
};

async function answer(line) {
  const asked = JSON.parse(line);
  try {
    if (asked.crypto === 'noble' && !cryptos.noble) {
      cryptos.noble = (await import('../../web/verifier/adapters/noble.mjs')).nobleCrypto;
    }
    const value = await ANSWERS[asked.op](asked, cryptos[asked.crypto ?? 'node']);
    return { value: value ?? null };
  } catch (error) {
    if (error instanceof Refused) return { refused: { step: error.step, what: error.what } };
    return { failed: String(error.stack) };
  }
}

for await (const line of createInterface({ input: process.stdin })) process.stdout.write(`${json(await answer(line))}\n`);
