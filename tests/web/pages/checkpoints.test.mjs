import './hooks.mjs';
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { cryptography, leavesOf, noteOf, pathIn, POLICY } from './notes.mjs';

const { relate } = await import('../../../rpc/explorer/static/js/checkpoints.mjs');

const ours = leavesOf(13);
const theirs = leavesOf(13, 'other', 5);
const related = (older, newer, path = pathIn(ours), policy = POLICY) => relate(cryptography, policy, older, newer, path);

test('a first checkpoint is taken where the policy accepts it', async () => {
  const found = await related(null, noteOf(ours));
  assert.equal(found.relation, 'extends');
  assert.equal(found.checkpoint.size, 13n);
});

for (let size = 1; size < 13; size++) {
  test(`a log of 13 leaves extends its own beginning of ${size}, and that one is behind it`, async () => {
    const [small, large] = [noteOf(ours.slice(0, size)), noteOf(ours)];
    assert.equal((await related(small, large)).relation, 'extends');
    assert.equal((await related(large, small)).relation, 'behind');
  });
}

test('the same log signed again is the same', async () => {
  assert.equal((await related(noteOf(ours), noteOf(ours, { cosigners: [0, 2], second: 1_770_000_060n }))).relation, 'same');
});

test('two roots of one size are a fork, and its report has both notes', async () => {
  const found = await related(noteOf(ours), noteOf(theirs));
  assert.equal(found.relation, 'fork');
  assert.ok(found.report.startsWith('chainnode.fork@v1\nextra '));
  assert.ok(found.report.includes(noteOf(ours)) && found.report.endsWith(noteOf(theirs)));
});

test('another history of another size is a fork where the node shows what the larger log begins with', async () => {
  assert.equal((await related(noteOf(theirs.slice(0, 8)), noteOf(ours))).relation, 'fork');
  assert.equal((await related(noteOf(ours), noteOf(theirs.slice(0, 8)))).relation, 'fork');
});

test('without a path to what the larger log begins with it is unproved, and never a proof against anybody', async () => {
  for (const path of [
    async () => { throw new Error('no answer'); },
    async () => ({}),
    async () => ({ old_root: '00'.repeat(32), path: [] }),
    async () => ({ old_root: 'x', path: 'y' }),
    pathIn(theirs),
  ]) {
    const found = await related(noteOf(theirs.slice(0, 8)), noteOf(ours), path);
    assert.equal(found.relation, 'unproved');
    assert.equal(found.report, null);
  }
});

test('a true root with the path of another log is unproved', async () => {
  const honest = pathIn(ours);
  const bent = async (a, b) => ({ old_root: (await honest(a, b)).old_root, path: (await pathIn(theirs)(a, b)).path });
  assert.equal((await related(noteOf(ours.slice(0, 8)), noteOf(ours), bent)).relation, 'unproved');
});

test('what too few cosigned is refused, whatever it says', async () => {
  const found = await related(noteOf(ours.slice(0, 4)), noteOf(ours, { cosigners: [1] }));
  assert.equal(found.relation, 'refused');
  assert.match(found.what, /cosignatures/);
});

test('a flipped signature is refused', async () => {
  const note = noteOf(ours);
  const flipped = note.replace(/.{6}\n$/, (end) => (end.startsWith('A') ? `B${end.slice(1)}` : `A${end.slice(1)}`));
  assert.notEqual(flipped, note);
  assert.equal((await related(null, flipped)).relation, 'refused');
});

// --- what a reader saved

const { examineNotes, kindOfNotes } = await import('../../../rpc/explorer/static/js/notes.mjs');
const { textsOf } = await import('../../../rpc/explorer/static/js/texts.mjs');
const examined = (text, asked = {}) => examineNotes({ cryptography, text, policy: POLICY, asked, t: textsOf('en') });
const failedOf = async (text, asked) => (await examined(text, asked)).steps.filter(({ state }) => state === 'fails').map(({ name }) => name);
const reports = [
  (await related(noteOf(ours), noteOf(theirs))).report,
  (await related(noteOf(theirs.slice(0, 8)), noteOf(ours))).report,
  (await related(noteOf(ours), noteOf(theirs.slice(0, 8)))).report,
];

test('a report of a fork is verified as one, whichever way it was found', async () => {
  for (const report of reports) {
    const found = await examined(report);
    assert.ok(found.holds);
    assert.match(found.verdict.sentence, /^TWO HISTORIES of /);
    assert.ok(found.steps.every(({ state }) => state === 'holds'));
  }
});

test('a report of what contradicts nothing is refused', async () => {
  const swap = (report, second) => `${report.slice(0, report.indexOf('\n\n'))}\n\n${noteOf(ours.slice(0, 8))}\n${second}`;
  assert.deepEqual(await failedOf(swap(reports[0], noteOf(ours.slice(0, 8)))), ['contradiction']);
  assert.deepEqual(await failedOf(swap(reports[1], noteOf(ours))), ['contradiction']);
  assert.deepEqual(await failedOf(swap(reports[0], noteOf(ours))), ['contradiction']);
  assert.deepEqual(await failedOf(swap(reports[0], noteOf(ours, { cosigners: [1] }))), ['cosignatures']);
  assert.deepEqual(await failedOf(reports[1].replace('extra ', 'extra AAAA')), ['proof']);
  assert.deepEqual(await failedOf(reports[1].slice(0, 60)), ['proof']);
});

test('a checkpoint alone is verified, and is nothing else that somebody demands', async () => {
  const found = await examined(noteOf(ours));
  assert.ok(found.holds);
  assert.match(found.verdict.sentence, /^checkpoint of 13 leaves of /);
  assert.deepEqual(await failedOf(noteOf(ours), { kind: 'completeness', subject: 'bank-a' }), ['asked']);
  assert.deepEqual(await failedOf(noteOf(ours, { cosigners: [2] })), ['cosignatures']);
  assert.equal(kindOfNotes(POLICY), null);
  assert.equal(kindOfNotes(noteOf(ours)), 'checkpoint');
});
