import assert from 'node:assert/strict';
import { test } from 'node:test';

import './hooks.mjs';
import { cryptography, leavesOf, noteOf, pathIn, POLICY } from './notes.mjs';

globalThis.localStorage = { getItem: () => null, setItem() {}, removeItem() {} };
const { verdictOn } = await import('../../../rpc/explorer/static/js/consistency.mjs');

const leaves = leavesOf(13);
const notes = { 8: noteOf(leaves.slice(0, 8)), 13: noteOf(leaves) };

/** What a reader's browser says of 8 and 13 leaves where the node gives these notes and paths. */
function verdict({ served = notes, pin = { by: 'Ann' }, path = pathIn(leaves), sizes = { old: '8', new: '13' } } = {}) {
  const node = { text: async (url) => served[/(\d+)\.note$/.exec(url)[1]], path };
  const context = { node, t: (key) => key, pins: { raise() {}, alarm: null }, trusted: async () => ({ text: POLICY, pin }), cryptography: async () => cryptography, handovers: async () => [] };
  return verdictOn(context, sizes);
}

test('a log that begins with the other one holds, and is verified by a pinned policy alone', async () => {
  assert.deepEqual(await verdict(), { said: 'extends', what: '' });
  assert.deepEqual(await verdict({ pin: null }), { said: 'provisional', what: '' });
});

test('a note of another size than was asked for answers nothing', async () => {
  const { said } = await verdict({ served: { 8: notes[13], 13: notes[13] } });
  assert.equal(said, 'unproved');
  assert.equal((await verdict({ served: { 8: noteOf(leaves.slice(0, 5)), 13: notes[13] } })).said, 'unproved');
  assert.equal((await verdict({ served: { 8: notes[8], 13: noteOf(leaves.slice(0, 9)) } })).said, 'unproved');
});

test('a path that leads elsewhere, and a note that the policy refuses, are refused', async () => {
  const bent = async (a, b) => {
    const found = await pathIn(leaves)(a, b);
    return { ...found, path: found.path.map((hash) => hash.replace(/^../, 'ff')) };
  };
  assert.equal((await verdict({ path: bent })).said, 'unproved');
  assert.equal((await verdict({ served: { ...notes, 13: noteOf(leaves, { cosigners: [0] }) } })).said, 'refused');
});

test('what charts show is the table below them', async () => {
  const { figuresOf, shownTime } = await import('../../../rpc/explorer/static/js/charts.mjs');
  const cell = (text, value) => ({ textContent: text, dataset: value === undefined ? {} : { value } });
  const row = (time, ...cells) => ({ querySelector: () => ({ dateTime: time }), cells: [cell(time), ...cells] });
  const table = {
    tHead: { rows: [{ cells: [cell('Minute'), cell('95 %'), cell('Median')] }] },
    tBodies: [{ rows: [row('2026-01-01T00:00:00Z', cell('9', '9.5'), cell('4', '4')), row('2026-01-01T00:01:00Z', cell('–'), cell('–'))] }],
  };
  const start = Date.UTC(2026, 0, 1) / 1_000;
  assert.deepEqual(figuresOf(table), { names: ['95 %', 'Median'], data: [[start, start + 60], [9.5, null], [4, null]] });
  assert.equal(shownTime([start, start + 3_600], start), '00:00');
  assert.equal(shownTime([start, start + 60], start), '00:00:00');
  assert.equal(shownTime([start, start + 100_000], start), '2026-01-01');
});
