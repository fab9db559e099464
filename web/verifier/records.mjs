/**
 * The records of proofs: their fields in order, as docs/formats.md lists them.
 *
 * Each name below is the record of that name there. What their fields must say of each other is checked where a proof
 * is verified.
 */

import { bool, bytes, int, list, optional, record, text, tuple } from './msgpack.mjs';

export const HANDOVERS_MAX = 4_096;
export const EVENT_BYTES_MAX = 65_534;
export const TIME_MS_MAX = 253_402_300_799_999n;
const NUMBER_MAX = 2n ** 63n - 1n;

const hash = bytes(32, 32);
const path = list(hash, 64);
const index = int(0n);
const anyInt = int();
const timeMs = int(0n, TIME_MS_MAX);
const eventBytes = bytes(0, EVENT_BYTES_MAX);

export const event = record({
  member: text(1, 64),
  reference: bytes(16, 16),
  expires_ms: timeMs,
  kind: int(1n, 255n),
  schema: int(1n, 65_535n),
  body: eventBytes,
});

export const batchHeader = record({
  suite: anyInt,
  chain_id: hash,
  member: text(1, 64),
  source: hash,
  number: int(0n, NUMBER_MAX),
  previous: hash,
  count: int(1n, 1_024n),
  root: hash,
  time_ms: timeMs,
});

export const blockHeader = record({
  suite: anyInt,
  version: anyInt,
  chain_id: hash,
  height: anyInt,
  epoch: anyInt,
  parent: hash,
  time_ms: anyInt,
  proposer: anyInt,
  batches_root: hash,
  first_index: anyInt,
  event_count: anyInt,
  outcomes_root: hash,
  log_root: hash,
  state_root: hash,
  batch_logs_root: hash,
  next_validators: hash,
});

const quorumCertificate = record({
  phase: anyInt,
  epoch: anyInt,
  view: anyInt,
  height: anyInt,
  block_hash: hash,
  signatures: list(tuple(anyInt, bytes())),
});

const validator = record({ name: text(), member: text(), vote_key: bytes(), cosign_key: bytes(), log_key: bytes() });

export const validatorSet = record({ epoch: anyInt, validators: list(validator) });

export const handover = record({ header: blockHeader, certificate: quorumCertificate, validators: list(validator, 128) });
const handovers = list(handover, HANDOVERS_MAX);

const outcome = record({ code: int(0n, 1n), rule: text(0, 64), detail: text(0, 200) });
export const outcomes = list(outcome);
const outcomeProof = record({ leaf: bytes(), path: list(hash) });
const batchPlace = record({ index, count: index, path });

export const receipt = record({
  version: anyInt,
  event: eventBytes,
  header: blockHeader,
  header_path: path,
  outcome: outcomeProof,
  batch_place: batchPlace,
  batch_header: batchHeader,
  batch_signature: bytes(64, 64),
  batch_index: index,
  batch_path: path,
  handovers,
});

const stateProof = record({ siblings: list(hash), other: optional(tuple(bytes(), hash)) });

export const statusProof = record({
  version: anyInt,
  key: bytes(1, 256),
  value: optional(bytes(0, 1 << 20)),
  proof: stateProof,
  header: blockHeader,
  following: optional(record({ header: blockHeader, path })),
  handovers,
});

const sourceTip = record({ source: hash, next_number: anyInt, previous: hash });
const memberHead = record({ member: text(), size: anyInt, root: hash, sources: list(sourceTip) });

export const completeness = record({
  version: anyInt,
  member: text(1, 64),
  from_height: index,
  to_height: index,
  header: blockHeader,
  heads: list(record({ head: memberHead, index, count: index, path }), 2),
  first: index,
  before: path,
  after: path,
  batches: list(
    record({
      header: batchHeader,
      height: index,
      place: batchPlace,
      signature: optional(bytes(64, 64)),
      events: list(eventBytes, 1_024),
      log_index: index,
      before: path,
      after: path,
    }),
    1 << 16,
  ),
  blocks: list(record({ header: blockHeader, path, rejected: list(tuple(anyInt, outcome), 1 << 16) }), 1 << 16),
  handovers,
});

export const history = record({
  version: anyInt,
  status: statusProof,
  first: index,
  previous: hash,
  events: list(
    record({ event: eventBytes, log_index: index, path, header: blockHeader, header_path: path, outcome: outcomeProof }),
    256,
  ),
  later: list(hash, 1 << 16),
});

const EVIDENCE = [
  'technical_documents', 'type_examination', 'security_evaluation', 'site_check', 'review_report', 'corrective_action',
  'holder_request',
];
const STATES = [
  'applied', 'accepted', 'type_tested', 'site_checked', 'reviewed', 'granted', 'refused', 'active', 'suspended',
  'revoked', 'cancelled', 'expired',
];
const label = text(1, 200);
const filedEvidence = record({
  kind: text(0, 64, EVIDENCE),
  digest: bytes(),
  custodian: text(),
  size_bytes: anyInt,
  member: text(),
  event_id: hash,
  time_ms: anyInt,
  passed: bool,
});

export const certificate = record({
  number: text(),
  application: text(),
  holder: text(),
  holder_name: text(),
  product: record({ name: label, model: label, version: label }),
  category: anyInt,
  catalogue: anyInt,
  body: text(),
  state: text(0, 64, STATES),
  since_ms: anyInt,
  version: anyInt,
  valid_from_ms: anyInt,
  valid_until_ms: anyInt,
  suspension: optional(record({ reason: text(), from_ms: anyInt, until_ms: anyInt })),
  revocation: optional(record({ reason: text(), by: text(), invalid_from_ms: anyInt })),
  predecessor: optional(text()),
  successor: optional(text()),
  evidence: list(filedEvidence),
  corrections: list(filedEvidence),
  appeal_until_ms: optional(anyInt),
  history: record({ count: anyInt, hash, changed_ms: anyInt }),
});
