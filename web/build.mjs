/**
 * `node web/build.mjs`: makes what pages take from others, from the packages that `package-lock.json` names.
 *
 * Into rpc/explorer/static/vendor, which git ignores and the wheel holds: the adapter of noble, uPlot, and their licences.
 * The same sources give the same bytes on every machine. Files that would not change are left alone.
 */

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

const WEB = dirname(fileURLToPath(import.meta.url));
const ROOT = dirname(WEB);
const VENDOR = join(ROOT, 'rpc/explorer/static/vendor');
const PACKAGES = ['@noble/curves', '@noble/hashes', 'uplot'];

/** One module or style sheet of all that a text imports. */
async function bundle(contents, loader = 'js') {
  const { outputFiles } = await build({
    absWorkingDir: ROOT,
    bundle: true,
    charset: 'utf8',
    format: 'esm',
    legalComments: 'inline',
    logLevel: 'warning',
    minify: true,
    stdin: { contents, loader, resolveDir: WEB },
    target: 'es2022',
    write: false,
  });
  return outputFiles[0].text;
}

/** The licences of what is bundled, which go wherever it goes. */
function licences() {
  return PACKAGES.map((name) => {
    const { version } = JSON.parse(readFileSync(join(WEB, 'node_modules', name, 'package.json'), 'utf8'));
    return `${name} ${version}\n\n${readFileSync(join(WEB, 'node_modules', name, 'LICENSE'), 'utf8').trim()}\n`;
  }).join('\n\n');
}

function put(file, text) {
  if (existsSync(file) && readFileSync(file, 'utf8') === text) return;
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

put(join(VENDOR, 'noble.mjs'), await bundle("export { nobleCrypto } from './verifier/adapters/noble.mjs';"));
put(join(VENDOR, 'uplot.mjs'), await bundle("export { default } from 'uplot';"));
put(join(VENDOR, 'uplot.css'), await bundle("@import 'uplot/dist/uPlot.min.css';", 'css'));
put(join(VENDOR, 'LICENSES.txt'), licences());
