// What the verifier says of the published vectors' inputs, by the names of their verdicts.

import { fromHex, hex, textOf } from '../../web/verifier/bytes.mjs';
import { verifyPage } from '../../web/verifier/completeness.mjs';
import { verifyHistoryPage } from '../../web/verifier/histories.mjs';
import { checkConsistency, checkInclusion } from '../../web/verifier/merkle.mjs';
import { checkCheckpoint, parsePolicy } from '../../web/verifier/policy.mjs';
import { verifyReceipt } from '../../web/verifier/receipts.mjs';
import { check } from '../../web/verifier/refused.mjs';
import { certificateStatus, checkNumber, verifyState } from '../../web/verifier/states.mjs';
import { headerHash } from '../../web/verifier/validators.mjs';

const hashes = (items) => items.map(fromHex);

function text(bytes) {
  const read = textOf(fromHex(bytes));
  check(read !== null, 'input', 'not UTF-8');
  return read;
}

function accepted({ checkpoint, epoch, witnesses, cosigners }) {
  return { origin: checkpoint.origin, epoch, witnesses, cosigners };
}

function receipt({ proof, policy }, crypto) {
  const told = verifyReceipt(crypto, text(proof), parsePolicy(crypto, text(policy)));
  const { header, outcome, checked, event } = told;
  return {
    ...accepted(checked),
    event_id: hex(told.id),
    applied: outcome.code === 0n,
    rule: outcome.rule,
    detail: outcome.detail,
    member: event.member,
    source: hex(told.source),
    chain_id: hex(header.chain_id),
    height: header.height,
    index: told.index,
    log_index: told.logIndex,
    time_ms: header.time_ms,
    batch_number: told.batch.number,
    log_size: checked.checkpoint.size,
    cosigned_first_s: checked.firstSecond,
    cosigned_last_s: checked.lastSecond,
  };
}

function stateOf(told, crypto) {
  const { key, value, header, untilMs, isNewest, checked } = told;
  return {
    ...accepted(checked),
    key: hex(key),
    value: value && hex(value),
    chain_id: hex(header.chain_id),
    header_hash: hex(headerHash(crypto, header)),
    height: header.height,
    time_ms: header.time_ms,
    until_ms: untilMs,
    is_newest: isNewest,
  };
}

function worth(status, time) {
  if (status === null) return null;
  const { sinceMs, untilMs, due } = status;
  return { status: status.status, time_ms: time, since_ms: sinceMs, until_ms: untilMs, revocation_due: due };
}

export const JUDGES = {
  inclusion: ({ root, size, index, leaf, path }, crypto) => {
    checkInclusion(crypto, fromHex(root), BigInt(size), BigInt(index), fromHex(leaf), hashes(path), 'inclusion');
    return { verified: true };
  },
  consistency: (inputs, crypto) => {
    const [older, newer] = [fromHex(inputs.old_root), fromHex(inputs.new_root)];
    checkConsistency(crypto, BigInt(inputs.old_size), older, BigInt(inputs.new_size), newer, hashes(inputs.path));
    return { verified: true };
  },
  checkpoint: ({ proof, policy }, crypto) => {
    const checked = checkCheckpoint(crypto, parsePolicy(crypto, text(policy)), text(proof));
    const { size, root } = checked.checkpoint;
    const times = { first_s: checked.firstSecond, last_s: checked.lastSecond };
    return { ...accepted(checked), size, root: hex(root), ...times };
  },
  policy: receipt,
  receipt,
  handovers: receipt,
  status: ({ proof, policy, certificate, at_ms: at }, crypto) => {
    const told = verifyState(crypto, text(proof), parsePolicy(crypto, text(policy)));
    if (certificate === undefined) return stateOf(told, crypto);
    checkNumber(told, certificate);
    const time = at === undefined ? told.header.time_ms : BigInt(at);
    return { ...stateOf(told, crypto), status: worth(certificateStatus(told, time), time) };
  },
  completeness: ({ proof, policy, member }, crypto) => {
    const told = verifyPage(crypto, text(proof), parsePolicy(crypto, text(policy)));
    check(told.extra.member === member, 'completeness', 'another member');
    return {
      ...accepted(told.checked),
      member,
      from_height: told.extra.from_height,
      to_height: told.extra.to_height,
      from_ms: told.fromMs,
      until_ms: told.untilMs,
      batch_count: told.batches,
      chain_id: hex(told.extra.header.chain_id),
      log_size: told.checked.checkpoint.size,
      events: told.events.map(({ id, outcome, header, index, batch }) => ({
        event_id: hex(id),
        height: header.height,
        index,
        time_ms: header.time_ms,
        source: hex(batch.source),
        batch_number: batch.number,
        outcome: { code: outcome?.code ?? 0n, rule: outcome?.rule ?? '', detail: outcome?.detail ?? '' },
      })),
    };
  },
  history: ({ proof, policy, certificate }, crypto) => {
    const told = verifyHistoryPage(crypto, text(proof), parsePolicy(crypto, text(policy)), certificate);
    return {
      status: stateOf(told.status, crypto),
      certificate: told.certificate && { number: told.certificate.number, state: told.certificate.state },
      first: told.first,
      count: told.count,
      previous: hex(told.previous),
      reached: hex(told.reached),
      events: told.events.map(({ id, header, logIndex }) => ({
        event_id: hex(id),
        height: header.height,
        log_index: logIndex,
        time_ms: header.time_ms,
      })),
    };
  },
};
