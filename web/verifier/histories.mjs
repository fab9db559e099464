/**
 * The whole history of a certificate: all events that made its record what it is, none left out.
 *
 * The record in the state counts its events and holds a hash chain over their ids, so no other list and no other order
 * fits. Each event comes with its block and its outcome there. Source: docs/formats.md, Histories of certificates.
 *
 * @typedef {import('./keys.mjs').Crypto} Crypto
 */

import { same } from './bytes.mjs';
import { checkInclusion } from './merkle.mjs';
import { decode, encode } from './msgpack.mjs';
import { checkCheckpoint } from './policy.mjs';
import { checkHeader, checkOutcome, pagesOf, parseTlogProof, readEvent } from './proofs.mjs';
import { history as historyType } from './records.mjs';
import { check } from './refused.mjs';
import { checkNumber, checkStatus, numberOf, readCertificate } from './states.mjs';
import { domainHash } from './validators.mjs';

const VERSION = 1n;
const PAGE_MAX = 16 << 20;
const STEP = 'history';
const NOTHING = { count: 0n, hash: new Uint8Array(32) };

/** The hash chain after further ids. */
function chained(crypto, previous, ids) {
  return ids.reduce((hash, id) => domainHash(crypto, 'certificate-history', encode([hash, id])), previous);
}

/**
 * Return what one page proves of a certificate's history; throws `Refused` where anything does not hold.
 *
 * @param {Crypto} crypto
 * @param {string} text
 * @param {import('./policy.mjs').Policy} policy
 * @param {string} [number]  default: that of the proof
 */
export function verifyHistoryPage(crypto, text, policy, number) {
  const proof = parseTlogProof(text, PAGE_MAX);
  const extra = decode(historyType, proof.extra, 'extra');
  check(extra.version === VERSION, 'extra', `a proof of a history of version ${extra.version}`);
  const checked = checkCheckpoint(crypto, policy, proof.note, extra.status.handovers);
  const status = checkStatus(crypto, extra.status, proof, checked);
  checkNumber(status, number ?? numberOf(status));
  const certificate = readCertificate(status.value);
  const { count, hash } = certificate === null ? NOTHING : certificate.history;
  const events = extra.events.map((part) => checkEvent(crypto, part, checked));
  const shown = extra.first + BigInt(events.length + extra.later.length);
  check(shown === count, STEP, `${shown} events where the record counts ${count}`);
  check(count === 0n || events.length > 0, STEP, 'a page without events');
  const reached = chained(crypto, extra.previous, events.map(({ id }) => id));
  check(same(chained(crypto, reached, extra.later), hash), STEP, 'the events are not those of the record');
  return { status, certificate, first: extra.first, count, previous: extra.previous, reached, events };
}

function checkEvent(crypto, part, checked) {
  const { header } = part;
  checkHeader(crypto, header, part.header_path, checked);
  const { event, id } = readEvent(crypto, part.event);
  const { root, size } = checked.checkpoint;
  checkInclusion(crypto, root, size, part.log_index, id, part.path, 'event');
  const outcome = checkOutcome(crypto, part.outcome, header, part.log_index - header.first_index);
  check(outcome.code === 0n, 'outcome', 'an event of the history was not applied there');
  return { id, event, header, logIndex: part.log_index };
}

/**
 * Return what the pages of a certificate's whole history prove together.
 *
 * @param {Crypto} crypto
 * @param {string} text
 * @param {import('./policy.mjs').Policy} policy
 * @param {string} [number]  default: that of the proof
 */
export function verifyHistory(crypto, text, policy, number) {
  const pages = pagesOf(text).map((each) => verifyHistoryPage(crypto, each, policy, number));
  pages.forEach((page, i) => {
    const last = i ? pages[i - 1] : { first: 0n, events: [], reached: NOTHING.hash, status: page.status };
    const begins = page.first === last.first + BigInt(last.events.length) && same(page.previous, last.reached);
    check(begins, STEP, 'the pages do not follow each other');
    const alike = same(page.status.header.raw, last.status.header.raw) && same(page.status.key, last.status.key);
    check(alike, STEP, 'the pages are of different histories');
  });
  const end = pages[pages.length - 1];
  check(end.first + BigInt(end.events.length) === end.count, STEP, 'the last events are missing');
  return pages;
}
