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
