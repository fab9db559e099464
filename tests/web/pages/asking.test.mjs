import './hooks.mjs';
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { nodeCrypto } from '../../../web/verifier/adapters/node.mjs';

const js = '../../../rpc/explorer/static/js/';
const { Node, TooSlow, Unanswered } = await import(`${js}node.mjs`);
const { choose, fromBrowser, ofNoble } = await import(`${js}crypto.mjs`);

const answering = (...responses) => new Node('', async () => responses.shift());
const json = (value, status = 200) => new Response(JSON.stringify(value), { status });

test('what is not proved yet is asked for again', async () => {
  const node = answering(json({ error: { message: 'wait' } }, 503), new Response('the proof'));
  assert.equal(await node.text('/x'), 'the proof');
});

test('a refusal is told with its reason and not asked again', async () => {
  await assert.rejects(answering(json({ error: { message: 'no such event' } }, 404)).text('/x'), /no such event/);
  await assert.rejects(answering(new Response('<html>', { status: 400 })).text('/x'), /HTTP 400/);
});

test('an answer that is no result is an error, whatever it is', async () => {
  for (const response of [new Response('x'), json(null), json({}), json({ error: {} }), json([1])]) {
    await assert.rejects(answering(response).call('net_status', {}), Unanswered);
  }
  assert.deepEqual(await answering(json({ result: { height: 1 } })).call('net_status', {}), { height: 1 });
});

test('a node that is away is told so', async () => {
  const node = new Node('', async () => { throw new TypeError('refused'); });
  await assert.rejects(node.text('/x'), /not reached: refused/);
});

test('a library that says yes or no to everything is not used', async () => {
  const saying = (answer) => async () => ofNoble({ ...nodeCrypto, verifyEd25519: () => answer });
  await assert.rejects(choose([saying(true), saying(false)]), /judges a signature of RFC 8032 wrongly/);
  assert.equal((await choose([saying(true), fromBrowser])).name, 'webcrypto');
});

test('without noble the browser\u2019s own is used, and without either it is told', async () => {
  const missing = async () => { throw new Error('no such file'); };
  assert.equal((await choose([missing, fromBrowser])).name, 'webcrypto');
  await assert.rejects(choose([missing]), /nothing to verify signatures with: no such file/);
});

test('a node that takes too long is told apart from one that is away', async () => {
  const never = (url, { signal }) => new Promise((resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
  await assert.rejects(new Node('', never, 20).text('/x'), (error) => error instanceof TooSlow && /no answer within 0.02 s/.test(error.message));
});
