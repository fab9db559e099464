/**
 * All that a proof proves, by the names under which pages mark what they show; for proofs that were verified already.
 *
 * A verdict says what a person needs; the bytes behind it hold every field that a page can show. They are read here once
 * more from the very text that was accepted. Rows are the entries of a list, each under its place in the log.
 *
 * @typedef {{place: string, height: bigint, facts: Map<string, string>}} Row
 * @typedef {object} Proved
 * @property {Map<string, string>} facts
 * @property {Row[]} rows  in the order of the log
 * @property {bigint | null} from  the first and last height of which the rows are all there is
 * @property {bigint | null} to
 */

import { hex, joined } from '../verifier/bytes.mjs';
import { kindName } from '../verifier/kinds.mjs';
import { decode } from '../verifier/msgpack.mjs';
import { batchHash, pagesOf, parseTlogProof, placeOf, readEvent } from '../verifier/proofs.mjs';
import { completeness, history, receipt, statusProof } from '../verifier/records.mjs';
import { sha256 } from '../verifier/sha256.mjs';
import { certificateStatus, readCertificate } from '../verifier/states.mjs';
import { formatTime } from '../verifier/times.mjs';
import { headerHash } from '../verifier/validators.mjs';
import { bodyOf, flat } from './bodies.mjs';

const PROOF_MAX = 64 << 20;
const crypto = { sha256, verifyEd25519: () => false };
const NO_ROWS = { rows: [], from: null, to: null };
export const NOTHING = { ...NO_ROWS, facts: new Map() };

/** The fields of a certificate's record that no page shows. */
export const UNSHOWN = /^record\.(?:number|state|since|version|history\..*|(?:evidence|corrections)\.\d+\.(?:size_bytes|time|event_id))$/;

/**
 * @param {string} kind  of proof
 * @param {string} text  a proof that the verifier accepted
 * @param {any} verdict
 * @returns {Proved}
 */
export function provedBy(kind, text, verdict) {
  const extras = (type) => pagesOf(text).map((page) => decode(type, parseTlogProof(page, PROOF_MAX).extra, 'extra'));
  switch (kind) {
    case 'receipt': return { ...NO_ROWS, facts: ofReceipt(extras(receipt)[0]) };
    case 'status': return { ...NO_ROWS, facts: ofStatus(extras(statusProof)[0], verdict) };
    case 'history': return ofHistory(extras(history));
    case 'completeness': return ofCompleteness(extras(completeness));
    default: return NOTHING;
  }
}

function ofReceipt(proof) {
  const { event } = readEvent(crypto, proof.event);
  return new Map([
    ['kind_number', String(event.kind)],
    ['schema', String(event.schema)],
    ['expires', formatTime(event.expires_ms)],
    ['batch_hash', hex(batchHash(crypto, proof.batch_header))],
    ['leaf', hex(joined(Uint8Array.of(Number(event.kind)), proof.event))],
    ...flat(bodyOf(event), 'body'),
  ]);
}

function ofStatus({ value }, { time, exists }) {
  const facts = new Map([['exists', String(exists)]]);
  if (!exists) return facts;
  const status = certificateStatus({ ...STANDING, value }, BigInt(Date.parse(time)));
  facts.set('valid', String(status.status === 'valid'));
  facts.set('until', status.untilMs === null ? '' : formatTime(status.untilMs));
  facts.set('revocation_due', String(status.due));
  return facts;
}

// Whether the proof covers the time was decided when it was verified.
const STANDING = { header: { time_ms: 0n }, untilMs: 1n << 63n, isNewest: true };

function ofHistory(pages) {
  const { status } = pages[pages.length - 1];
  const record = readCertificate(status.value);
  const rows = pages.flatMap(({ events }) =>
    events.map(({ event, log_index: place, header }) => rowOf(place, header, readEvent(crypto, event), true)),
  );
  return { facts: record === null ? new Map() : flat(recordOf(record), 'record'), rows, from: 0n, to: status.header.height };
}

function ofCompleteness(pages) {
  const rows = [];
  for (const page of pages) {
    const blocks = new Map(page.blocks.map((block) => [block.header.height, { header: block.header, rejected: new Map(block.rejected) }]));
    for (const batch of page.batches) {
      if (batch.height < page.from_height || batch.height > page.to_height) continue;
      const { header, rejected } = blocks.get(batch.height);
      batch.events.forEach((data, i) => {
        const place = batch.log_index + BigInt(i);
        const outcome = rejected.get(place - header.first_index);
        rows.push(rowOf(place, header, readEvent(crypto, data), !outcome || outcome.code === 0n));
      });
    }
  }
  return { facts: new Map(), rows, from: pages[0].from_height, to: pages[pages.length - 1].to_height };
}

/** An event as lists show it. */
function rowOf(place, header, { event, id }, applied) {
  const facts = new Map([
    ['id', hex(id)],
    ['kind', kindName(event.kind)],
    ['member', event.member],
    ['outcome', applied ? 'applied' : 'rejected'],
    ['height', String(header.height)],
    ['time', formatTime(header.time_ms)],
    ['about', aboutOf(bodyOf(event))],
    ...flat(bodyOf(event), 'body'),
  ]);
  return { place: String(place), height: header.height, facts };
}

const TELLING = ['number', 'application', 'uetr', 'pair_key', 'source', 'validator', 'key', 'proposal'];
const TELLING_MAX = 64;

/** What lists say of an event: the first of these fields that its body has. */
export function aboutOf(body) {
  const name = TELLING.find((each) => typeof body[each] === 'string' && body[each] !== '');
  return [...(name ? body[name] : (body.action?.type ?? ''))].slice(0, TELLING_MAX).join('');
}

/** The header of a block, whose bytes a quorum signed. */
export function ofHeader(header) {
  return new Map([
    ...flat(recordOf(header), 'header'),
    ['hash', hex(headerHash(crypto, header))],
    ['log_index', String(placeOf(header))],
    ['header_leaf', hex(joined(Uint8Array.of(0), header.raw))],
  ]);
}

const RENAMED = { from_ms: 'start' };

/** A record as the API gives it: `x_ms` is the time `x`, bytes are hex. */
function recordOf(value) {
  if (value instanceof Uint8Array) return hex(value);
  if (Array.isArray(value)) return value.map(recordOf);
  if (value === null || typeof value !== 'object') return value;
  const fields = Object.entries(value).filter(([name]) => name !== 'raw');
  return Object.fromEntries(fields.map(([name, inner]) => {
    const shown = RENAMED[name] ?? name.replace(/_ms$/, '');
    return [shown, name.endsWith('_ms') && inner !== null ? formatTime(inner) : recordOf(inner)];
  }));
}
