// A log of this test's own, with its signed notes and its paths: keys of three witnesses, of whom two are a quorum.

import { createHash, createPrivateKey, createPublicKey, sign } from 'node:crypto';

import { nodeCrypto } from '../../../web/verifier/adapters/node.mjs';
import { base64, hex, joined, utf8 } from '../../../web/verifier/bytes.mjs';
import { leafHash, rootOf } from '../../../web/verifier/merkle.mjs';

export const ORIGIN = `council/${'ab'.repeat(32)}`;
const PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex');
const [LOG, COSIGNER] = [1, 4];

export const cryptography = { name: 'node', run: async (run) => run(nodeCrypto) };

function keyOf(name, type) {
  const seed = createHash('sha256').update(name).digest();
  const secret = createPrivateKey({ key: Buffer.concat([PKCS8, seed]), format: 'der', type: 'pkcs8' });
  const open = new Uint8Array(createPublicKey(secret).export({ format: 'der', type: 'spki' }).subarray(-32));
  const id = nodeCrypto.sha256(joined(utf8(name), Uint8Array.of(10, type), open)).subarray(0, 4);
  return { name, secret, id, vkey: `${name}+${hex(id)}+${base64(joined(Uint8Array.of(type), open))}` };
}

const log = keyOf(ORIGIN, LOG);
const witnesses = ['w0', 'w1', 'w2'].map((name) => keyOf(`council/${name}`, COSIGNER));

export const POLICY = [
  `log ${log.vkey}`,
  ...witnesses.map(({ vkey }, i) => `witness w${i} ${vkey}`),
  'group validators 2 w0 w1 w2',
  'quorum validators',
  '',
].join('\n');

/** Leaf hashes of a history by its name: those of `other` part after `common` leaves. */
export function leavesOf(count, name = '', common = count) {
  return Array.from({ length: count }, (_, i) => leafHash(nodeCrypto, utf8(i < common ? `leaf ${i}` : `${name} ${i}`)));
}

/** The signed note of a log of these leaves. */
export function noteOf(leaves, { cosigners = [0, 1, 2], second = 1_770_000_000n } = {}) {
  const text = `${ORIGIN}\n${leaves.length}\n${base64(rootOf(nodeCrypto, leaves))}\n`;
  const line = ({ name, id }, data) => `\u2014 ${name} ${base64(joined(id, data))}\n`;
  const lines = [line(log, new Uint8Array(sign(null, utf8(text), log.secret)))];
  for (const i of cosigners) {
    const time = new Uint8Array(8);
    new DataView(time.buffer).setBigUint64(0, second);
    const signature = sign(null, utf8(`cosignature/v1\ntime ${second}\n${text}`), witnesses[i].secret);
    lines.push(line(witnesses[i], joined(time, new Uint8Array(signature))));
  }
  return `${text}\n${lines.join('')}`;
}

/** What `ledger_getConsistency` answers of a node with these leaves. */
export function pathIn(leaves) {
  return async (oldSize, newSize) => ({
    old_root: hex(rootOf(nodeCrypto, leaves.slice(0, Number(oldSize)))),
    path: subproof(Number(oldSize), leaves.slice(0, Number(newSize)), true).map(hex),
  });
}

// RFC 6962, 2.1.2.
function subproof(m, leaves, whole) {
  if (m === leaves.length) return whole ? [] : [rootOf(nodeCrypto, leaves)];
  let k = 1;
  while (k * 2 < leaves.length) k *= 2;
  if (m <= k) return [...subproof(m, leaves.slice(0, k), whole), rootOf(nodeCrypto, leaves.slice(k))];
  return [...subproof(m - k, leaves.slice(k), false), rootOf(nodeCrypto, leaves.slice(0, k))];
}
