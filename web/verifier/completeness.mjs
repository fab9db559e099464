/**
 * Completeness: all that a member submitted between two heights, and that nothing is missing.
 *
 * What leads to what: a checkpoint names a header, which names every member's head: size and root of the log of its
 * batches. All batches of a range of that log are shown with their neighbours, which lie outside of the heights; so what
 * lies between is all there is. Of a member without batches the heads around its place are shown.
 *
 * @typedef {import('./keys.mjs').Crypto} Crypto
 */

import { compareText, same } from './bytes.mjs';
import { checkInclusion, checkRange, emptyRoot, leafHash, rootOf } from './merkle.mjs';
import { decode } from './msgpack.mjs';
import { checkCheckpoint } from './policy.mjs';
import {
  checkBatchPlace, checkBatchSignature, checkHeader, outcomeLeaves, pagesOf, parseTlogProof, placeOf, readEvent,
} from './proofs.mjs';
import { completeness as completenessType } from './records.mjs';
import { check, refuse, shown } from './refused.mjs';
import { laterOf } from './states.mjs';

const VERSION = 1n;
const PAGE_MAX = 64 << 20;
const STEP = 'completeness';

/**
 * Return what one page proves; throws `Refused` where anything does not hold.
 *
 * @param {Crypto} crypto
 * @param {string} text
 * @param {import('./policy.mjs').Policy} policy
 */
export function verifyPage(crypto, text, policy) {
  const proof = parseTlogProof(text, PAGE_MAX);
  const extra = decode(completenessType, proof.extra, 'extra');
  check(extra.version === VERSION, 'extra', `a proof of completeness of version ${extra.version}`);
  const checked = checkCheckpoint(crypto, policy, proof.note, extra.handovers);
  check(proof.index === placeOf(extra.header), 'header', "the index is not the header's");
  checkHeader(crypto, extra.header, proof.path, checked);
  const { from_height: from, to_height: to } = extra;
  check(from <= to && to <= extra.header.height, STEP, `heights ${from} to ${to}, up to ${extra.header.height}`);
  const blocks = checkBlocks(crypto, extra, checked);
  checkBatches(crypto, extra);
  const events = extra.batches.flatMap((batch) => checkBatch(crypto, extra, batch, blocks, checked));
  const inside = extra.batches.filter((batch) => isInside(extra, batch));
  checkOrder(inside);
  return { extra, checked, events, batches: inside.length, ...timesOf(extra, blocks, checked) };
}

/**
 * Return what the pages of a member prove together: they must be of one log and follow each other.
 *
 * @param {Crypto} crypto
 * @param {string} text
 * @param {import('./policy.mjs').Policy} policy
 * @param {string} [member]  default: that of the first page
 */
export function verifyCompleteness(crypto, text, policy, member) {
  const pages = [];
  for (const each of pagesOf(text)) {
    const page = verifyPage(crypto, each, policy);
    const last = pages[pages.length - 1] ?? null;
    const own = page.extra.member === (member ?? (last ?? page).extra.member);
    check(own, STEP, `a proof of the member ${shown(page.extra.member)}`);
    const follows =
      last === null ||
      (page.checked.checkpoint.origin === last.checked.checkpoint.origin &&
        page.extra.from_height === last.extra.to_height + 1n);
    check(follows, STEP, 'the pages do not follow each other');
    pages.push(page);
  }
  return pages;
}

function isInside(extra, { height }) {
  return height >= extra.from_height && height <= extra.to_height;
}

/** Throw `Refused` where batches overlap in the log: two may hold the same events, of which the first were applied. */
function checkOrder(batches) {
  let reached = 0n;
  for (const { log_index: start, events } of batches) {
    check(start >= reached, 'event', 'batches overlap in the log');
    reached = start + BigInt(events.length);
  }
}

/** The blocks by height, each proved to stand in the log. */
function checkBlocks(crypto, extra, checked) {
  const blocks = new Map();
  let previous = null;
  for (const block of extra.blocks) {
    const { height } = block.header;
    check(previous === null || height > previous, STEP, 'the blocks are not ascending');
    checkHeader(crypto, block.header, block.path, checked, 'block');
    blocks.set(height, block);
    previous = height;
  }
  return blocks;
}

/** Throw `Refused` unless the batches are a whole range of the member's log that reaches around the heights. */
function checkBatches(crypto, extra) {
  const { first, before, after, batches } = extra;
  const head = ownHead(crypto, extra);
  if (head === null) {
    const nothing = !batches.length && first === 0n && !before.length && !after.length;
    return check(nothing, STEP, 'batches of a member without any');
  }
  const leaves = batches.map(({ header }) => leafHash(crypto, header.raw));
  checkRange(crypto, head.root, head.size, first, leaves, before, after, STEP);
  const heights = batches.map(({ height }) => height);
  check(heights.every((height, i) => i === 0 || height >= heights[i - 1]), STEP, 'the batches are not ascending');
  const neighbourBefore = heights.length > 0 && heights[0] < extra.from_height;
  check(first === 0n || neighbourBefore, STEP, 'batches before the first are left out');
  const neighbourAfter = heights.length > 0 && heights[heights.length - 1] > extra.to_height;
  const reachesEnd = first + BigInt(heights.length) >= head.size;
  return check(reachesEnd || neighbourAfter, STEP, 'batches after the last are left out');
}

/** The member's head, or null where the heads that are shown prove that it has none. */
function ownHead(crypto, extra) {
  const step = 'heads';
  const root = extra.header.batch_logs_root;
  for (const part of extra.heads) {
    checkInclusion(crypto, root, part.count, part.index, leafHash(crypto, part.head.raw), part.path, step);
  }
  if (extra.heads.length === 1 && extra.heads[0].head.member === extra.member) return extra.heads[0].head;
  if (!extra.heads.length) {
    check(same(root, emptyRoot(crypto)), step, 'no head is shown of a chain with batches');
    return null;
  }
  const lower = extra.heads.filter(({ head }) => compareText(head.member, extra.member) < 0);
  const upper = extra.heads.filter(({ head }) => compareText(head.member, extra.member) > 0);
  const around = lower.length <= 1 && upper.length <= 1 && lower.length + upper.length === extra.heads.length;
  check(around, step, "the heads do not lie around the member's place");
  const [{ count }] = extra.heads;
  const place = lower.length ? lower[0].index + 1n : 0n;
  const adjacent = (upper.length ? upper[0].index : count) === place && extra.heads.every((part) => part.count === count);
  check(adjacent, step, 'the heads are not next to each other');
  return null;
}

/** The events of a batch, if it lies between the heights; its place is proved in any case. */
function checkBatch(crypto, extra, batch, blocks, checked) {
  const block = blocks.get(batch.height);
  if (!block) return refuse(STEP, `block ${batch.height} of a batch is missing`);
  checkBatchPlace(crypto, batch.place, batch.header, block.header);
  const own = batch.header.member === extra.member && same(batch.header.chain_id, extra.header.chain_id);
  check(own, 'batch', 'a batch of another member or chain');
  return isInside(extra, batch) ? eventsOf(crypto, batch, block, checked) : [];
}

function outcomesOf(crypto, block) {
  if (!block.outcomes) {
    const rejected = new Map(block.rejected);
    const root = rootOf(crypto, outcomeLeaves(crypto, block.header.event_count, rejected));
    check(same(root, block.header.outcomes_root), 'outcome', `not the outcomes of block ${block.header.height}`);
    block.outcomes = rejected;
  }
  return block.outcomes;
}

function eventsOf(crypto, batch, block, checked) {
  const { header } = batch;
  const events = batch.events.map((data) => readEvent(crypto, data));
  const ids = events.map(({ id }) => id);
  const all = BigInt(ids.length) === header.count && same(rootOf(crypto, ids), header.root);
  check(all, 'batch', `not the events of batch ${header.number}`);
  checkBatchSignature(crypto, header, batch.signature);
  const { root, size } = checked.checkpoint;
  checkRange(crypto, root, size, batch.log_index, ids, batch.before, batch.after, 'event');
  const first = batch.log_index - block.header.first_index;
  const inside = first >= 0n && first + header.count <= block.header.event_count;
  check(inside, 'event', `batch ${header.number} lies outside of its block`);
  const outcomes = outcomesOf(crypto, block);
  return events.map(({ event, id }, i) => {
    const index = first + BigInt(i);
    const applied = (outcomes.get(index)?.code ?? 0n) === 0n;
    return { id, event, applied, outcome: outcomes.get(index) ?? null, header: block.header, index, batch: header };
  });
}

/** The first time that the heights cover, and the first that they do not (null: nothing after the last block). */
function timesOf(extra, blocks, checked) {
  const { from_height: from, to_height: to, header } = extra;
  const before = blocks.get(from - 1n);
  check(from === 0n || before !== undefined, STEP, `block ${from - 1n} before the range is missing`);
  const fromMs = from === 0n ? 0n : before.header.time_ms + 1n;
  const after = blocks.get(to + 1n);
  if (after) return { fromMs, untilMs: after.header.time_ms };
  check(to >= header.height, STEP, `block ${to + 1n} after the range is missing`);
  if (checked.checkpoint.size !== placeOf(header) + 1n) return { fromMs, untilMs: null };
  return { fromMs, untilMs: laterOf(checked.firstSecond * 1_000n, header.time_ms) };
}
