#!/usr/bin/env node
/**
 * `node cli.mjs FILE --policy POLICY [--certificate NO] [--at TIME] [--member ID]`: verify a proof offline.
 *
 * Prints one JSON object. Exit status: 0 verified, 3 refused, 2 wrong usage.
 */

import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

import { nodeCrypto } from './adapters/node.mjs';
import { textOf } from './bytes.mjs';
import { json, Refused, verify } from './verify.mjs';

const USAGE = 'usage: cli.mjs FILE --policy POLICY [--certificate NO] [--at TIME] [--member ID]';
const OPTIONS = /** @type {const} */ ({
  policy: { type: 'string' },
  certificate: { type: 'string' },
  at: { type: 'string' },
  member: { type: 'string' },
});

class Usage extends Error {}

function parsed() {
  try {
    const { values, positionals } = parseArgs({ options: OPTIONS, allowPositionals: true });
    if (positionals.length !== 1 || values.policy === undefined) throw new Usage(USAGE);
    return { file: positionals[0], ...values };
  } catch (error) {
    throw new Usage(error instanceof Usage ? error.message : `${error.message}\n${USAGE}`);
  }
}

function read(file) {
  let data;
  try {
    data = readFileSync(file === '-' ? 0 : file);
  } catch (error) {
    throw new Usage(`cannot read ${file}: ${error.code}`);
  }
  const text = textOf(data);
  if (text === null) throw new Refused('input', 'not UTF-8');
  return text;
}

function main() {
  const { file, policy, ...options } = parsed();
  const verdict = verify(read(file), read(policy), { ...options, crypto: nodeCrypto });
  console.log(json(verdict));
}

try {
  main();
} catch (error) {
  if (error instanceof Usage) {
    console.error(error.message);
    process.exitCode = 2;
  } else if (error instanceof Refused) {
    console.log(json({ verified: false, step: error.step, what: error.what }));
    process.exitCode = 3;
  } else {
    throw error;
  }
}
