import './hooks.mjs';
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';

const { Damaged, hashOf, passingStorage, Pins } = await import('../../../rpc/explorer/static/js/pins.mjs');

const FROM = { from: 'a file', by: 'Ann of bank-b, by telephone', at: '2026-01-02T03:04:05Z' };
const checkpoint = (size, byte = 1) => ({ size: BigInt(size), root: new Uint8Array(32).fill(byte) });

test('the hash of a policy is that of its bytes', () => {
  const policy = 'log é\n';
  assert.equal(hashOf(policy), createHash('sha256').update(policy).digest('hex'));
});

test('a pinned policy is there with who vouched for it, when and from where', () => {
  const storage = passingStorage();
  new Pins(storage).set('policy', FROM);
  assert.deepEqual(new Pins(storage).pin, { policy: 'policy', hash: hashOf('policy'), ...FROM });
});

test('a policy that changed in storage is damage and no policy', () => {
  const storage = passingStorage();
  new Pins(storage).set('policy', FROM);
  const [name] = ['chainnode.pin.v1'];
  storage.setItem(name, storage.getItem(name).replace('"policy":"policy"', '"policy":"other"'));
  assert.throws(() => new Pins(storage).pin, Damaged);
  for (const text of ['', '{', 'null', '[]', '{"policy":1}', '7']) {
    storage.setItem(name, text);
    assert.throws(() => new Pins(storage).pin, Damaged, text);
  }
});

test('the last checkpoint only grows, and another policy begins anew', () => {
  const pins = new Pins(passingStorage());
  pins.set('policy', FROM);
  pins.advance(checkpoint(7), 'seven', FROM.at);
  pins.advance(checkpoint(5), 'five', FROM.at);
  assert.equal(pins.seen.note, 'seven');
  pins.advance(checkpoint(9_007_199_254_740_993n), 'large', FROM.at);
  assert.equal(pins.seen.size, '9007199254740993');
  pins.set('another', FROM);
  assert.equal(pins.seen, null);
});

test('an alarm stays until it is put away, and the first one stays', () => {
  const pins = new Pins(passingStorage());
  const alarm = (what) => ({ relation: 'fork', what, at: FROM.at, older: 'a', newer: 'b', report: '' });
  pins.raise(alarm('first'));
  pins.raise(alarm('second'));
  pins.forget();
  assert.equal(pins.alarm.what, 'first');
  pins.putAway();
  assert.equal(pins.alarm, null);
});
