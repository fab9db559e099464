import './hooks.mjs';
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { utf8 } from '../../../web/verifier/bytes.mjs';
import { encode } from '../../../web/verifier/msgpack.mjs';

const { valuesOf } = await import('../../../rpc/explorer/static/js/body.mjs');

test('values are told in their order, each by its type', () => {
  const long = 'x'.repeat(300);
  const body = encode([1n, 200n, 70_000n, 2n ** 63n - 1n, -1n, -40n, -70_000n, 'ü"', long, utf8('ab'), null, true, false, [], [['in']]]);
  assert.deepEqual(valuesOf(body), [
    '[', '  1', '  200', '  70000', '  9223372036854775807', '  -1', '  -40', '  -70000', '  "ü\\""', `  "${long}"`, '  0x6162', '  –', '  true', '  false', '  []',
    '  [', '    [', '      "in"', '    ]', '  ]', ']',
  ]);
});

test('what is no whole MessagePack of our kinds is told by nothing', () => {
  const good = encode([1n, 'ab']);
  for (const bytes of [[], [0xc1], [0x80], [0xca, 0, 0, 0, 0], [...good, 0], [...good.slice(0, -1)], [0xa1, 0xff], [0xdd, 255, 255, 255, 255]]) {
    assert.equal(valuesOf(Uint8Array.from(bytes)), null, String(bytes));
  }
  assert.equal(valuesOf(new Uint8Array(100).fill(0x91)), null);
});
