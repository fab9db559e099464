import './hooks.mjs';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { cryptography } from './notes.mjs';

const js = '../../../rpc/explorer/static/js/';
const { examine, noteOf } = await import(`${js}engine.mjs`);
const { stepOf, judged, STEPS } = await import(`${js}steps.mjs`);
const { askedBy } = await import(`${js}section.mjs`);
const { textsOf, TEXTS } = await import(`${js}texts.mjs`);
const { Refused } = await import('../../../web/verifier/refused.mjs');

const sample = (name) => readFileSync(new URL(`../../../samples/proofs/${name}`, import.meta.url), 'utf8');
const [policy, receipt, status] = ['policy', 'receipt.tlog-proof', 'status.tlog-proof'].map(sample);
const EVENT = '4231fd774abb2d2d67978f27af931b81c05d6e2be8ed4ba86dcfbea8bd82d965';
const t = textsOf('en');
const run = (given) => examine({ cryptography, policy, t, ...given });
const stateOf = (found, name) => found.steps.find((step) => step.name === name)?.state;

test('a good receipt holds in all of its steps', async () => {
  const found = await run({ proof: receipt, asked: { kind: 'receipt', subject: EVENT } });
  assert.ok(found.holds);
  assert.deepEqual(found.steps.map(({ name }) => name), [...STEPS.receipt, 'asked']);
  assert.ok(found.steps.every(({ state }) => state === 'holds'));
  assert.equal(found.facts.get('outcome'), 'applied');
});

test('a good receipt of another event than the one asked for fails', async () => {
  const found = await run({ proof: receipt, asked: { kind: 'receipt', subject: 'ab'.repeat(32) } });
  assert.ok(!found.holds);
  assert.equal(stateOf(found, 'asked'), 'fails');
});

test('a good proof of another kind than the one asked for fails', async () => {
  for (const asked of [{ kind: 'status', subject: 'FTP-2026-06-000001' }, { kind: 'completeness', subject: 'bank-a' }]) {
    const found = await run({ proof: receipt, asked });
    assert.ok(!found.holds);
    assert.equal(stateOf(found, 'asked'), 'fails');
  }
  assert.ok(!(await run({ proof: status, asked: { kind: 'receipt', subject: EVENT } })).holds);
});

test('a status proof of another certificate than the one asked for fails', async () => {
  const found = await run({ proof: status, asked: { kind: 'status', subject: 'FTP-2026-06-000999' } });
  assert.ok(!found.holds);
  assert.equal(stateOf(found, 'asked'), 'fails');
  assert.equal(stateOf(found, 'cosignatures'), 'open');
});

const pageOf = (claims, more = {}) => ({ claims, list: null, strays: [], asOf: null, words: null, whole: false, ...more });

test('what a page shows otherwise than it is proved is a lie, and what it shows right is none', async () => {
  const claims = [{ name: 'outcome', value: 'rejected' }, { name: 'member', value: 'cb' }, { name: 'colour', value: 'red' }];
  const told = async (page) => (await run({ proof: receipt, asked: { kind: 'receipt', subject: EVENT }, page })).lies.map(({ name, shown, proved }) => [name, shown, proved]);
  const found = await run({ proof: receipt, asked: { kind: 'receipt', subject: EVENT }, page: pageOf(claims) });
  assert.ok(!found.holds);
  assert.equal(stateOf(found, 'shown'), 'fails');
  assert.deepEqual(await told(pageOf(claims)), [['outcome', 'rejected', 'applied']]);
  assert.deepEqual(await told(pageOf([{ name: 'rule', value: 'duplicate' }])), [['rule', 'duplicate', '']]);
  assert.deepEqual(await told(pageOf([{ name: 'body.application', value: 'x' }])), [['body.application', 'x', found.proved.facts.get('body.application')]]);
  const stray = { name: 'body', shown: 'and paid', proved: '' };
  assert.deepEqual(await told(pageOf([], { strays: [stray] })), [['body', 'and paid', '']]);
});

test('a page of an event has to show all of its body, its outcome and its place', async () => {
  const all = [...(await run({ proof: receipt, asked: {} })).proved.facts, ...(await run({ proof: receipt, asked: {} })).facts].map(([name, value]) => ({ name, value }));
  const judged = async (claims) => run({ proof: receipt, asked: { kind: 'receipt', subject: EVENT }, page: pageOf(claims, { whole: true }) });
  assert.equal(stateOf(await judged(all), 'shown'), 'holds');
  for (const left of ['kind', 'outcome', 'member', 'time', 'height', 'event_id', 'leaf', ...all.map(({ name }) => name).filter((name) => name.startsWith('body.'))]) {
    const found = await judged(all.filter(({ name }) => name !== left));
    assert.deepEqual(found.lies.map(({ name, shown }) => [name, shown]), [[left, '']], left);
  }
});

test('a status that speaks for a time long past is no refusal, and no claim about now', async () => {
  const found = await run({ proof: status, asked: { kind: 'status', subject: 'FTP-2026-06-000001', now: true } });
  assert.equal(stateOf(found, 'fresh'), 'warns');
  assert.ok(found.holds);
  const then = BigInt(Date.parse(found.verdict.proved_until));
  const soon = await run({ proof: status, asked: { kind: 'status', subject: 'FTP-2026-06-000001', now: true }, nowMs: then + 60_000n });
  assert.equal(stateOf(soon, 'fresh'), 'holds');
});

test('each byte of a receipt that is turned is refused, and no step after the failed one is said to hold', async () => {
  const [top] = receipt.split('\n\n');
  const lines = top.split('\n');
  for (let place = 6; place < lines[1].length; place += 97) {
    const turned = [...lines];
    turned[1] = lines[1].slice(0, place) + (lines[1][place] === 'A' ? 'B' : 'A') + lines[1].slice(place + 1);
    const found = await run({ proof: receipt.replace(top, turned.join('\n')), asked: { kind: 'receipt', subject: EVENT } });
    assert.ok(!found.holds, `place ${place}`);
    const states = found.steps.filter(({ name }) => name !== 'asked').map(({ state }) => state);
    const failed = states.indexOf('fails');
    assert.ok(states.slice(failed + 1).every((state) => state === 'open'), `place ${place}`);
  }
});

test('what is no proof at all is refused without an exception', async () => {
  for (const proof of ['', 'x', receipt.slice(0, 100), `${receipt}\n`, '\ud800']) {
    const found = await run({ proof, asked: { kind: 'receipt', subject: EVENT } });
    assert.ok(!found.holds);
    assert.equal(found.facts.size, 0);
  }
  assert.equal(noteOf('x'), null);
});

test('every step at which the verifier refuses is a step of the page', () => {
  for (const kind of Object.keys(STEPS)) {
    for (const step of ['policy', 'extra', 'note', 'log signature', 'outcome', 'no such step']) {
      const steps = judged(kind, new Refused(step, 'x'));
      assert.equal(steps.filter(({ state }) => state === 'fails').length, 1, `${kind} ${step}`);
      assert.ok(STEPS[kind].includes(stepOf(kind, step)));
    }
    assert.ok(judged(kind, null).every(({ state }) => state === 'holds'));
    assert.ok(judged(kind, new Refused('key', 'x')).every(({ state }) => state === 'open'));
  }
});

test('what was asked for is what the address says, not what the section says', () => {
  const other = 'cd'.repeat(32);
  const of = (pathname, search = '') => ({ pathname, search });
  const data = { kind: 'receipt', event: other };
  assert.equal(askedBy(data, of(`/event/${EVENT}`)).subject, EVENT);
  assert.equal(askedBy(data, of('/search')).subject, other);
  assert.equal(askedBy({ kind: 'status', certificate: other }, of(`/event/${EVENT}`)).kind, 'receipt');
  assert.deepEqual([askedBy(data, of('/block/12')).kind, askedBy({ kind: 'block' }, of('/block/12')).subject], ['block', '12']);
  assert.equal(askedBy({}, of('/payment/6ba7b810-9dad-41d1-80b4-00c04fd430c8')).kind, 'payment');
  const number = 'FTP-2026-06-000001';
  assert.deepEqual(askedBy({ kind: 'status', certificate: 'X' }, of(`/certificate/${number}`)), { kind: 'status', subject: number, at: undefined, height: undefined, now: true });
  assert.equal(askedBy({ kind: 'status' }, of(`/certificate/${number}`, '?at=7')).height, '7');
  assert.equal(askedBy({ kind: 'status' }, of(`/certificate/${number}`, '?at=2026-01-01T00%3A00%3A00Z')).at, '2026-01-01T00:00:00Z');
  assert.equal(askedBy({ kind: 'status' }, of(`/certificate/${number}`, '?at=2026-01-01')).at, '2026-01-01T00:00:00Z');
  assert.equal(askedBy({ kind: 'completeness' }, of('/member/bank%20a')).subject, 'bank a');
  assert.equal(askedBy({ kind: 'no such kind' }, of('/')).kind, 'receipt');
});

test('both languages have the same texts with the same places', () => {
  const places = (text) => [...text.matchAll(/\{[a-z]+2?\}/g)].map(String).sort();
  assert.deepEqual(Object.keys(TEXTS.zh).sort(), Object.keys(TEXTS.en).sort());
  for (const key of Object.keys(TEXTS.en)) assert.deepEqual(places(TEXTS.zh[key]), places(TEXTS.en[key]), key);
  for (const name of new Set(Object.values(STEPS).flat())) assert.ok(TEXTS.en[`step.${name}`], name);
});
