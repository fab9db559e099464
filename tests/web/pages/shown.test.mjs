import './hooks.mjs';
import assert from 'node:assert/strict';
import { test } from 'node:test';

const js = '../../../rpc/explorer/static/js/';
const { compareList, contradictions } = await import(`${js}shown.mjs`);
const { hexdump, saysValue } = await import(`${js}honest.mjs`);

const WORDS = {
  'kind.payment.statement': 'Payment statement', 'status.valid': 'valid', 'payment_status.settled': 'settled', 'field.amount': 'Amount',
  'certificate.counts': 'counts', 'certificate.counts_not': 'does not count', 'payment.committed': 'committed', none: 'none', yes: 'yes', no: 'no',
  'outcome.applied': 'applied', 'certificate.catalogue': 'catalogue {version}',
};

for (const [text, value, name] of [
  ['Payment statement', 'payment.statement', 'kind'],
  ['payment.statement', 'payment.statement', 'kind'],
  ['valid', 'valid', 'status'],
  ['12,345,678', '12345678', 'height'],
  ['06', '6', 'record.category'],
  ['2026-11-01 09:00:00 UTC', '2026-11-01T09:00:00.250Z', 'time'],
  ['2026-11-01', '2026-11-01T09:00:00Z', 'record.valid_until'],
  ['4231fd774a\u2026d965ab', `4231fd774a${'0'.repeat(48)}d965ab`, 'id'],
  ['none', '', 'body.uetr'],
  ['committed', '', 'sides.0.amount'],
  ['counts', 'true', 'valid'],
  ['no', 'false', 'body.passed'],
  ['catalogue 3', '3', 'record.catalogue'],
  ['000000 20 41 A', '2041', 'leaf'],
]) {
  test(`"${text}" says ${name} ${value || 'nothing'}`, () => assert.ok(saysValue(text, value, name, WORDS)));
}

for (const [text, value, name] of [
  ['suspended', 'valid', 'status'],
  ['settled', 'valid', 'status'],
  ['12,345,679', '12345678', 'height'],
  ['1,2345,678', '12345678', 'height'],
  ['2026-11-01 09:00:01 UTC', '2026-11-01T09:00:00Z', 'time'],
  ['', 'valid', 'status'],
  ['valid until further notice', 'valid', 'status'],
  ['4231fd774a\u2026d965ac', `4231fd774a${'0'.repeat(48)}d965ab`, 'id'],
  ['committed', '', 'body.uetr'],
  ['does not count', 'true', 'valid'],
  ['yes', 'false', 'body.passed'],
  ['', '', 'body.uetr'],
]) {
  test(`"${text}" does not say ${name} ${value || 'nothing'}`, () => assert.ok(!saysValue(text, value, name, WORDS)));
}

test('bytes are shown as the server shows them', () => {
  assert.equal(hexdump(Uint8Array.from({ length: 18 }, (_, i) => 0x3c + i)), [
    '000000  3c 3d 3e 3f 40 41 42 43 44 45 46 47 48 49 4a 4b  <=>?@ABCDEFGHIJK',
    `000010  4c 4d${' '.repeat(42)}  LM`,
  ].join('\n'));
});

test('a value that is right under a text that is not is a lie, told by its text', () => {
  const facts = new Map([['status', 'valid']]);
  const claims = [{ name: 'status', value: 'valid', text: 'revoked' }];
  assert.deepEqual(contradictions({ facts, claims, words: WORDS }).map(({ shown, proved }) => [shown, proved]), [['revoked', 'valid']]);
  assert.deepEqual(contradictions({ facts, claims: [{ ...claims[0], text: 'valid' }], words: WORDS }), []);
});

// --- lists

const rows = [1, 2, 3, 4, 5, 6].map((n) => ({ place: String(n * 10), height: BigInt(n), facts: new Map() }));
const all = rows.map(({ place }) => place);
const heights = (place) => BigInt(place) / 10n;
const told = (places, more = {}, span = {}, heightAt = heights) => {
  const found = compareList(rows, { places, first: true, last: true, ...more }, heightAt, { asOf: null, to: 6n, ...span });
  return [...found.wrong.map(({ key, place }) => `${key} ${place}`), ...(found.later ? [`later ${found.later}`] : [])];
};

test('a list that is whole and in order is right, and so is any part of one that goes on', () => {
  assert.deepEqual(told(all), []);
  assert.deepEqual(told(all.slice(0, 3), { last: false }), []);
  assert.deepEqual(told(all.slice(2, 4), { first: false, last: false }), []);
  assert.deepEqual(told(all.slice(4), { first: false }), []);
});

test('what a list leaves out is told, at its beginning, in it, at its end and altogether', () => {
  for (const place of all) assert.deepEqual(told(all.filter((each) => each !== place)), [`missing ${place}`]);
  assert.deepEqual(told([]), all.map((place) => `missing ${place}`));
  assert.deepEqual(told(all.slice(1, 3), { last: false }), ['missing 10']);
  assert.deepEqual(told(['20', '40'], { first: false, last: false }), ['missing 30']);
});

test('what a list adds, has twice or turns round is told', () => {
  assert.deepEqual(told([...all, '35'], {}, {}, () => 3n), ['extra 35']);
  assert.deepEqual(told(['10', '20', '20', ...all.slice(2)]), ['twice 20']);
  assert.deepEqual(told(['20', '10', ...all.slice(2)]), ['order 10']);
});

test('what is newer than the page is none of its business, and what is newer than the proof is not proved', () => {
  assert.deepEqual(told(all.slice(0, 4), {}, { asOf: 4n }), []);
  assert.deepEqual(told(all.slice(0, 3), {}, { asOf: 4n }), ['missing 40']);
  assert.deepEqual(told([...all, '70'], {}, { asOf: 7n }), ['later 1']);
});

test('of a list that goes on it is told which of the entries these are, so that no link leads past some', () => {
  const partOf = (places, more) => compareList(rows, { places, first: true, last: true, ...more }, heights, { asOf: null, to: 6n }).part;
  assert.equal(partOf(all, {}), null);
  assert.deepEqual(partOf(all.slice(0, 2), { last: false }), { from: 1, to: 2, of: 6 });
  assert.deepEqual(partOf(all.slice(3), { first: false }), { from: 4, to: 6, of: 6 });
});
