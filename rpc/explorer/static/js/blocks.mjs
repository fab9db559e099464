/**
 * Examines a block: that a quorum of the validators whom the policy names, or to whom its handovers lead, voted for just
 * these bytes of a header. Block 0 has no votes: the votes are those for block 1, whose parent it is.
 */

import { fromBase64, fromHex, hex, same } from '../verifier/bytes.mjs';
import { leafHash, rootOf } from '../verifier/merkle.mjs';
import { decode } from '../verifier/msgpack.mjs';
import { parsePolicy } from '../verifier/policy.mjs';
import { blockHeader, handover } from '../verifier/records.mjs';
import { check, refuse } from '../verifier/refused.mjs';
import { checkCommitted, checkRelease, follow, headerHash } from '../verifier/validators.mjs';
import { flat } from './bodies.mjs';
import { ofHeader } from './proved.mjs';
import { judgePage } from './shown.mjs';
import { asRefused, judged, step } from './steps.mjs';

const COMMIT = 2n;
const BATCHES_MAX = 1 << 16;

/**
 * @param {object} given
 * @param {import('./crypto.mjs').Cryptography} given.cryptography
 * @param {string} given.policy
 * @param {Uint8Array[]} given.handovers
 * @param {any} given.block  what `ledger_getBlock` gives
 * @param {any} given.next  the same of block 1, for block 0
 * @param {{subject: string}} given.asked  its height or its hash
 * @param {import('./shown.mjs').Page | null} given.page
 * @param {(key: string, places?: object) => string} given.t
 * @returns {Promise<import('./engine.mjs').Examined>}
 */
export async function examineBlock({ cryptography, policy, handovers, block, next, asked, page, t }) {
  let [facts, refused] = [null, null];
  const started = performance.now();
  try {
    facts = await cryptography.run((crypto) => verifyBlock(crypto, policy, handovers, block, next));
  } catch (error) {
    refused = asRefused(error);
  }
  const ms = performance.now() - started;
  const steps = judged('block', refused);
  const got = facts && [facts.get('header.height'), facts.get('hash')];
  const wrong = got && !got.includes(asked.subject) ? t('asked.differs', { asked: asked.subject, got: got[0] }) : '';
  steps.push(step('asked', facts === null ? 'open' : wrong ? 'fails' : 'holds', wrong));
  const proved = { facts: facts ?? new Map(), rows: [], from: null, to: null };
  const judgement = facts === null || page === null ? null : judgePage('block', proved, [], page, t);
  if (page !== null) steps.push(judgement?.step ?? step('shown', 'open'));
  const verdict = facts && { sentence: t('block.sentence', { height: facts.get('header.height'), signers: facts.get('voted') }) };
  return { kind: 'block', verdict, holds: steps.every(({ state }) => state !== 'fails'), steps, facts: mainOf(facts), proved, lies: judgement?.lies ?? [], ms };
}

const MAIN = ['header.height', 'hash', 'header.time', 'header.event_count', 'header.first_index', 'log_index', 'voted'];

function mainOf(facts) {
  return new Map(facts === null ? [] : MAIN.map((name) => [name, facts.get(name)]));
}

/** What the bytes of a block's header say, once its votes hold; throws `Refused`. */
export function verifyBlock(crypto, policyText, handovers, block, next) {
  const policy = parsePolicy(crypto, policyText);
  const header = headerOf(block);
  const spans = spansOf(crypto, policy, handovers);
  const voted = header.height === 0n ? next : block;
  const child = header.height === 0n ? headerOf(next) : header;
  if (header.height === 0n) {
    checkRelease(header, 'header');
    check(child.height === 1n && same(child.parent, headerHash(crypto, header)), 'header', 'block 1 is not the next after it');
  }
  const span = spans.find(({ epoch }) => epoch === child.epoch) ?? refuse('votes', `no validators are known of epoch ${child.epoch}`);
  const certificate = certificateOf(voted?.certificate);
  check(certificate.height === child.height && same(child.chain_id, header.chain_id), 'votes', 'votes for another height or chain');
  const chainId = chainOf(policy);
  check(same(child.chain_id, chainId), 'header', "a block of another chain than the policy's");
  checkCommitted(crypto, child, certificate, chainId, span, 'votes');
  const signers = header.height === 0n ? [] : certificate.signatures.map(([index, signature]) => {
    const { name, member } = span.validators[Number(index)];
    return { name, member, signature };
  });
  const batches = batchesOf(crypto, header, block);
  const voters = certificate.signatures.map(([index]) => span.validators[Number(index)].name);
  const facts = new Map([...ofHeader(header), ['voted', voters.join(', ')]]);
  signers.forEach(({ name, member, signature }, i) => flat({ name, member, signature: hex(signature) }, `signers.${i}`, facts));
  batches.forEach((hash, i) => facts.set(`batches.${i}`, hex(hash)));
  if (signers.length) facts.set('header.proposer', String(span.validators[Number(header.proposer)]?.name ?? header.proposer));
  else facts.delete('header.proposer');
  return facts;
}

function headerOf(block) {
  check(typeof block?.header_leaf === 'string', 'header', 'no header');
  const leaf = fromBase64(block.header_leaf, 'header');
  check(leaf[0] === 0, 'header', 'not the leaf of a header');
  return decode(blockHeader, leaf.subarray(1), 'header');
}

function spansOf(crypto, { epochs, ...policy }, handovers) {
  check(epochs.length > 0, 'votes', 'the policy lists no validators by epoch');
  const last = epochs[epochs.length - 1];
  const later = handovers.map((data) => decode(handover, data, 'handovers')).filter(({ header }) => header.epoch >= last.epoch);
  return [...epochs.slice(0, -1), ...follow(crypto, last, chainOf(policy), later)];
}

function chainOf({ logs }) {
  const match = /\/([0-9a-f]{64})$/.exec(logs[0]?.name ?? '');
  return match ? fromHex(match[1]) : refuse('policy', 'the policy names no log with the id of its chain');
}

function certificateOf(said) {
  const whole = (value) => (Number.isSafeInteger(value) && value >= 0 ? BigInt(value) : refuse('votes', 'no whole number'));
  check(said !== null && typeof said === 'object' && Array.isArray(said.signatures), 'votes', 'there are no votes');
  return {
    phase: COMMIT,
    epoch: whole(said.epoch),
    view: whole(said.view),
    height: whole(said.height),
    block_hash: fromHex(String(said.block_hash)),
    signatures: said.signatures.map((each) => [whole(each?.validator), fromHex(String(each?.signature))]),
  };
}

/** The hashes of the batches, which stand under the header's root of batches. */
function batchesOf(crypto, header, { batch_hashes: said }) {
  check(Array.isArray(said) && said.length <= BATCHES_MAX, 'header', 'no list of batches');
  const hashes = said.map((each) => fromHex(String(each)));
  check(same(rootOf(crypto, hashes.map((hash) => leafHash(crypto, hash))), header.batches_root), 'header', 'the batches are not those under its root');
  return hashes;
}
