/**
 * The bodies of events by name: from their canonical bytes to what the API gives of them as JSON.
 *
 * A shape lists the fields of a record in their order; types need none, since the encoding tells them. Source:
 * docs/formats.md, the tables of bodies. Integers stay BigInt, bytes are hex, `x_ms` is the time `x`.
 */

import { hex } from '../verifier/bytes.mjs';
import { decode } from '../verifier/msgpack.mjs';
import { refuse } from '../verifier/refused.mjs';
import { formatTime } from '../verifier/times.mjs';
import { anything } from './body.mjs';
import { statementOf } from './statements.mjs';

const PAYMENT_STATEMENT = 32n;

const each = (item) => ({ item });
const oneOf = (tags) => ({ tags });
const maybe = (record) => ({ record });

const DOCUMENT = ['digest', 'custodian', 'size_bytes'];
const PRODUCT = ['name', 'model', 'version'];
const EVIDENCE = ['evidence', each(['kind', 'digest', 'custodian', 'size_bytes'])];
const KEYS = ['vote_key', 'cosign_key', 'log_key', 'vote_proof', 'cosign_proof', 'log_proof'];
const OFFICERS = ['officers', each(['key', 'role'])];
const MEMBER = ['id', 'name', 'roles', 'ca_certificate', 'agents', ['sources', each(['key', 'roles'])], OFFICERS];
const CATEGORY = ['number', 'slug', 'name', 'name_zh', 'evidence'];
const FINDING = ['application', 'passed', EVIDENCE];
const PROPOSED = oneOf({
  add_validator: ['name', 'member', ['keys', KEYS], 'address'],
  remove_validator: ['name', 'fewer_faults'],
  rekey_validator: ['name', ['keys', KEYS], 'address'],
  activate_rules: ['version', 'height'],
  add_member: [['member', MEMBER]],
  exclude_member: ['member'],
  add_source: ['member', 'key', 'roles', 'proof'],
  remove_source: ['key'],
  set_officers: ['member', OFFICERS],
});
const AMENDED = oneOf({
  set_roles: ['member', 'roles'],
  set_source_roles: ['key', 'roles'],
  replace_ca: ['member', 'ca_certificate', 'keeps_old'],
  change_policy: [['figures', each(['name', 'value'])], 'height'],
  add_catalogue: ['version', 'effective_from_ms', 'source', ['categories', each(CATEGORY)]],
  set_threshold: ['action', 'share'],
});
const TERM = ['categories', 'valid_from_ms', 'valid_until_ms', 'standard'];
const STEERED = oneOf({
  accredit: ['member', 'role', ...TERM],
  end_accreditation: ['member', 'role', 'from_ms', 'reason'],
  set_scheme_policy: ['surveillance_interval_months', 'mark_use', 'correction_days_max', 'register_imports', 'inspection_window_s_min'],
  set_standards: ['version', ['categories', each(['number', 'standards'])]],
});
const REGULATED = oneOf({
  set_voucher_policy: ['enabled', 'amount_max', 'count_max', 'age_max_days', 'wallets_per_bank_max'],
  suspend_wallet: ['wallet'],
});
const VOTE = ['block_hash', 'signature'];
const COSIGNED = ['size', 'root', 'time_s', 'signature'];
const BATCH = ['suite', 'chain_id', 'member', 'source', 'number', 'previous', 'count', 'root', 'time_ms'];
const SIGNED = [['header', BATCH], 'signature'];

const APPLIED = ['application', 'holder_name', ['product', PRODUCT], 'category', EVIDENCE];
const GRANTED = ['application', 'number', 'valid_from_ms', 'valid_until_ms', 'valid_months'];
const REVOKED = ['number', 'reason', 'invalid_from_ms'];
const APPROVALS = ['approvals', each(['officer', 'signature'])];

const TOTALS_LINE = ['flow', 'leg', 'count', 'amount', 'token', 'payments_root'];
const VOUCHER = ['key', 'counter', 'previous', 'payee_commitment', 'amount', 'currency', 'issued_at_ms', 'signature'];
const SUSPENSION = ['suspension', maybe(['reason', 'until_ms'])];
const ROW = ['number', 'holder', 'holder_name', 'holder_id', ['product', PRODUCT], 'category', 'catalogue', 'scope', 'granted_ms', 'valid_until_ms', SUSPENSION, EVIDENCE];

/** By kind; these are of schema 1. */
export const SHAPES = new Map([
  [1n, APPLIED],
  [2n, ['application']],
  [3n, FINDING],
  [4n, FINDING],
  [5n, ['application', EVIDENCE]],
  [6n, GRANTED],
  [7n, ['application', 'reason']],
  [8n, ['number', 'reason', 'until_ms', 'days']],
  [9n, ['number', EVIDENCE]],
  [10n, REVOKED],
  [11n, ['number', EVIDENCE]],
  [12n, ['application', 'supersedes', EVIDENCE]],
  [13n, ['number', 'passed', 'grave', 'findings', 'correct_by_ms', EVIDENCE]],
  [14n, ['application', 'number', 'scope', EVIDENCE]],
  [15n, ['application', 'number']],
  [16n, ['number', 'reason', 'removes', EVIDENCE]],
  [17n, ['number', 'reason', EVIDENCE]],
  [18n, ['subject', 'reason', EVIDENCE]],
  [19n, ['subject', 'upheld', EVIDENCE]],
  [20n, ['draw', ['categories', each(['category', 'weight'])], 'count', 'commit_until_ms', 'reveal_until_ms', 'report_days', 'replaces']],
  [21n, ['draw', 'commitment']],
  [22n, ['draw']],
  [23n, ['draw', 'secret']],
  [24n, ['draw']],
  [25n, ['draw', 'number', 'passed', 'grave', 'findings', 'correct_by_ms', EVIDENCE]],
  [26n, ['draw', 'number', EVIDENCE]],
  [27n, ['number', 'media', 'until_ms', ['terms', DOCUMENT]]],
  [28n, ['number', 'medium', 'covers', ['artwork', DOCUMENT]]],
  [29n, ['number', 'holder', 'product', 'medium', 'misuse', ['evidence', each(DOCUMENT)]]],
  [30n, ['number', 'reason', 'report']],
  [31n, ['register', 'root', 'count', ['source', DOCUMENT], APPROVALS]],
  [33n, ['counterparty', 'day', 'currency', ['lines', each(TOTALS_LINE)]]],
  [34n, ['key', 'from_day']],
  [35n, ['reporter', 'events', 'fields', 'payload', 'basis', 'document', 'until_ms', 'key']],
  [36n, ['request', 'fields', 'payload', 'package', 'refusal']],
  [37n, ['root', 'count', 'basis']],
  [38n, ['key', 'currency', 'amount_max', 'count_max', 'age_max_s', 'valid_from_ms', 'valid_until_ms', 'holder_commitment', 'proof']],
  [39n, ['wallet', 'decision', 'reason']],
  [40n, [['vouchers', each(VOUCHER)]]],
  [41n, [['first', VOUCHER], ['second', VOUCHER]]],
  [64n, ['name', 'key', 'proof']],
  [80n, [['action', PROPOSED], 'expires_ms']],
  [81n, ['proposal', 'approve', 'officer', 'signature']],
  [82n, ['proposal', 'height', 'block_hash', 'signature']],
  [83n, ['proposal']],
  [84n, ['source', 'officer', 'signature']],
  [85n, [['action', AMENDED], 'expires_ms']],
  [86n, [['action', STEERED], 'expires_ms']],
  [87n, [['action', REGULATED], 'expires_ms']],
  [96n, ['epoch', 'view', 'height', 'phase', 'validator', ['first', VOTE], ['second', VOTE]]],
  [97n, ['epoch', 'validator', 'origin', ['first', COSIGNED], ['second', COSIGNED]]],
  [98n, [['first', SIGNED], ['second', SIGNED]]],
  [104n, ['register', 'index', ['row', ROW], 'path']],
  [105n, ['report', 'finding', 'reason', ['evidence', each(DOCUMENT)]]],
]);
const SCHEMA = 1n;
/** Of schema 2, by kind. */
export const LATER_SHAPES = new Map([
  [1n, [...APPLIED, 'holder_id', 'scope']],
  [6n, [...GRANTED, APPROVALS]],
  [10n, [...REVOKED, APPROVALS]],
]);
const SCHEMAS = new Map([[SCHEMA, SHAPES], [2n, LATER_SHAPES]]);

/**
 * The body of an event by name; one of a kind or schema of a later release as its bytes in hex. Throws `Refused` where it
 * is not what its kind says.
 *
 * @param {{kind: bigint, schema: bigint, body: Uint8Array}} event
 * @returns {any}
 */
export function bodyOf({ kind, schema, body }) {
  if (schema === SCHEMA && kind === PAYMENT_STATEMENT) return statementOf(body);
  const shape = SCHEMAS.get(schema)?.get(kind);
  return shape === undefined ? { raw: hex(body) } : named(shape, decode(anything(), body, 'body'));
}

function named(shape, value) {
  if (shape.tags) {
    const fields = Array.isArray(value) && typeof value[0] === 'string' && Object.hasOwn(shape.tags, value[0]) && shape.tags[value[0]];
    return fields ? { type: value[0], ...named(fields, value.slice(1)) } : refuse('body', 'not one of its kinds of record');
  }
  if (shape.record) return value === null ? null : named(shape.record, value);
  if (shape.item) return Array.isArray(value) ? value.map((item) => named(shape.item, item)) : refuse('body', 'no list');
  if (!Array.isArray(value) || value.length !== shape.length) return refuse('body', `no record of ${shape.length} fields`);
  return Object.fromEntries(shape.map((field, i) => (Array.isArray(field) ? [field[0], named(field[1], value[i])] : leaf(field, value[i]))));
}

function leaf(name, value) {
  if (!name.endsWith('_ms')) return [name, plain(value)];
  if (value !== null && typeof value !== 'bigint') return refuse('body', `no time: ${name}`);
  return [name.slice(0, -3), value === null ? null : formatTime(value)];
}

function plain(value) {
  if (Array.isArray(value)) return value.map(plain);
  return value instanceof Uint8Array ? hex(value) : value;
}

/**
 * A value as texts by path, as pages mark what they show: `product.name`, `evidence.0.digest`. What is empty is an empty
 * text.
 *
 * @param {any} value
 * @param {string} path
 * @param {Map<string, string>} [found]
 */
export function flat(value, path, found = new Map()) {
  const entries = value !== null && typeof value === 'object' ? Object.entries(value) : [];
  if (value === null || value === undefined || (typeof value === 'object' && !entries.length)) found.set(path, '');
  else if (!entries.length) found.set(path, String(value));
  for (const [name, inner] of entries) flat(inner, `${path}.${name}`, found);
  return found;
}
