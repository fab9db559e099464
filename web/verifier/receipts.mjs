/**
 * Receipts: one event, what became of it, by whom it was submitted, and when. Source: docs/formats.md, Receipts.
 *
 * What leads to what: the quorum's cosignatures name the log's root; the event's leaf and its block's header stand under
 * it; the header names the outcomes, the batches and the chain; the batch names the event, and its source signed it.
 */

import { same } from './bytes.mjs';
import { checkInclusion } from './merkle.mjs';
import { decode } from './msgpack.mjs';
import { checkCheckpoint } from './policy.mjs';
import {
  checkBatchPlace, checkBatchSignature, checkHeader, checkOutcome, parseTlogProof, readEvent,
} from './proofs.mjs';
import { receipt as receiptType } from './records.mjs';
import { check } from './refused.mjs';

const VERSION = 2n;

/**
 * Return what a receipt proves under a policy; throws `Refused` where anything does not hold.
 *
 * @param {import('./keys.mjs').Crypto} crypto
 * @param {string} text
 * @param {import('./policy.mjs').Policy} policy
 */
export function verifyReceipt(crypto, text, policy) {
  const proof = parseTlogProof(text);
  const receipt = decode(receiptType, proof.extra, 'extra');
  check(receipt.version === VERSION, 'extra', `a receipt of version ${receipt.version}`);
  const checked = checkCheckpoint(crypto, policy, proof.note, receipt.handovers);
  const { checkpoint } = checked;
  const { event, id } = readEvent(crypto, receipt.event);
  checkInclusion(crypto, checkpoint.root, checkpoint.size, proof.index, id, proof.path, 'event');
  const { header, batch_header: batch } = receipt;
  checkHeader(crypto, header, receipt.header_path, checked);
  const index = proof.index - header.first_index;
  check(index >= 0n && index < header.event_count, 'header', 'the event lies outside of the block');
  const outcome = checkOutcome(crypto, receipt.outcome, header, index);
  checkBatchPlace(crypto, receipt.batch_place, batch, header);
  const fits = batch.member === event.member && same(batch.chain_id, header.chain_id);
  check(fits, 'batch', 'a batch of another member or chain than the event');
  checkInclusion(crypto, batch.root, batch.count, receipt.batch_index, id, receipt.batch_path, 'batch');
  checkBatchSignature(crypto, batch, receipt.batch_signature);
  return { id, event, outcome, source: batch.source, header, index, logIndex: proof.index, batch, checked };
}
