/**
 * What verified proofs say, in the words that a person needs and by the names of `chainnode verify -o json`.
 *
 * Nothing is verified here, but that a status proof speaks for the time that is asked about.
 */

import { hex } from './bytes.mjs';
import { kindName } from './kinds.mjs';
import { certificateStatus, checkNumber, covers, lastOf, numberOf, statusAt } from './states.mjs';
import { formatTime } from './times.mjs';

const CHINESE = {
  not_yet_valid: '尚未生效',
  valid: '有效',
  suspended: '暂停',
  revoked: '撤销',
  cancelled: '注销',
  expired: '过期',
};

/** Who cosigned, out of how many. */
function cosignedBy({ cosigners, witnesses, epoch }, more = {}) {
  return { cosigners, cosigned: { by: cosigners.length, of: witnesses, epoch, ...more } };
}

/** @param {any} proved  of `verifyReceipt` */
export function receiptVerdict({ id, event, outcome, source, header, index, logIndex, batch, checked }) {
  const applied = outcome.code === 0n;
  const word = applied ? 'applied' : `rejected (${outcome.rule}: ${outcome.detail})`;
  const [kind, time] = [kindName(event.kind), formatTime(header.time_ms)];
  return {
    verified: true,
    sentence: `${kind} of ${event.member}, ${word}, in block ${header.height} of ${time}`,
    event_id: hex(id),
    outcome: { applied, rule: outcome.rule || null, detail: outcome.detail || null },
    kind,
    schema: event.schema,
    reference: hex(event.reference),
    body_hex: hex(event.body),
    member: event.member,
    source: hex(source),
    chain_id: hex(header.chain_id),
    height: header.height,
    index,
    log_index: logIndex,
    batch_number: batch.number,
    time,
    log_size: checked.checkpoint.size,
    ...cosignedBy(checked, {
      first: formatTime(checked.firstSecond * 1_000n),
      last: formatTime(checked.lastSecond * 1_000n),
    }),
  };
}

/** What a status is worth; null stands for a certificate that does not exist. */
function worthOf(status) {
  return {
    exists: status !== null,
    status: status && status.status,
    status_zh: status && CHINESE[status.status],
    valid: status !== null && status.status === 'valid',
    since: status && status.sinceMs !== null ? formatTime(status.sinceMs) : null,
    revocation_due: status !== null && status.due,
  };
}

/**
 * @param {any} proved  of `verifyState`
 * @param {string | undefined} certificate  default: that of the proof
 * @param {bigint | undefined} at  default: the block's time, or the last one where no later block was known
 */
export function statusVerdict(proved, certificate, at) {
  const { header, checked } = proved;
  const number = certificate ?? numberOf(proved);
  checkNumber(proved, number);
  const last = lastOf(proved);
  const time = at ?? (proved.isNewest ? last : header.time_ms);
  const status = certificateStatus(proved, time);
  const changes = status === null ? null : status.untilMs;
  const from = status !== null && status.sinceMs > header.time_ms ? status.sinceMs : header.time_ms;
  const until = changes !== null && changes - 1n < last ? changes - 1n : last;
  const next = changes !== null && covers(proved, changes) ? certificateStatus(proved, changes) : null;
  const said = status === null
    ? `there was no certificate ${number}`
    : `certificate ${number} was ${status.status} ${CHINESE[status.status]}`;
  const span = `proved from ${formatTime(from)} to ${formatTime(until)} by block ${header.height}`;
  const after = next === null ? '' : `, then ${next.status} ${CHINESE[next.status]}`;
  return {
    verified: true,
    sentence: `${said} at ${formatTime(time)}; ${span}${after}`,
    number,
    ...worthOf(status),
    time: formatTime(time),
    proved_from: formatTime(from),
    proved_until: formatTime(until),
    then: next === null ? null : { from: formatTime(changes), status: next.status },
    chain_id: hex(header.chain_id),
    height: header.height,
    block_time: formatTime(header.time_ms),
    log_size: checked.checkpoint.size,
    ...cosignedBy(checked),
  };
}

/** @param {any} proved  of `verifyState` */
export function stateVerdict(proved) {
  const { key, value, header, checked } = proved;
  return {
    verified: true,
    key_hex: hex(key),
    value_hex: value && hex(value),
    proved_from: formatTime(header.time_ms),
    proved_until: formatTime(lastOf(proved)),
    chain_id: hex(header.chain_id),
    height: header.height,
    log_size: checked.checkpoint.size,
    ...cosignedBy(checked),
  };
}

/** @param {any[]} pages  of `verifyHistory` */
export function historyVerdict(pages) {
  const { status: proved, certificate } = pages[pages.length - 1];
  const { header, checked } = proved;
  const [number, last] = [numberOf(proved), lastOf(proved)];
  const events = pages.flatMap((page) => page.events);
  const status = certificate === null ? null : statusAt(certificate, last);
  const until = formatTime(last);
  const sentence = status === null
    ? `there was no certificate ${number} at ${until}`
    : `these ${events.length} events are the whole history of certificate ${number} up to ${until}, ` +
      `when it was ${status.status} ${CHINESE[status.status]}`;
  return {
    verified: true,
    sentence,
    number,
    ...worthOf(status),
    time: until,
    events: events.map(({ id, event, header: block, logIndex }) => ({
      id: hex(id),
      kind: kindName(event.kind),
      schema: event.schema,
      body_hex: hex(event.body),
      member: event.member,
      time: formatTime(block.time_ms),
      height: block.height,
      log_index: logIndex,
    })),
    chain_id: hex(header.chain_id),
    height: header.height,
    block_time: formatTime(header.time_ms),
    log_size: checked.checkpoint.size,
    ...cosignedBy(checked),
  };
}

/** @param {any[]} pages  of `verifyCompleteness` */
export function completenessVerdict(pages) {
  const [first, last] = [pages[0], pages[pages.length - 1]];
  const { member } = first.extra;
  const events = pages.flatMap((page) => page.events);
  const applied = events.filter((event) => event.applied).length;
  const heights = `blocks ${first.extra.from_height} to ${last.extra.to_height}`;
  return {
    verified: true,
    sentence: `${member} submitted ${events.length} events in ${heights}, ${applied} of them applied, and no others`,
    member,
    from_height: first.extra.from_height,
    to_height: last.extra.to_height,
    from: formatTime(first.fromMs),
    until: last.untilMs === null ? null : formatTime(last.untilMs),
    events: events.length,
    applied,
    batches: pages.reduce((sum, page) => sum + page.batches, 0),
    event_ids: events.map(({ id }) => hex(id)),
    chain_id: hex(first.extra.header.chain_id),
    log_size: last.checked.checkpoint.size,
    ...cosignedBy(last.checked),
  };
}
