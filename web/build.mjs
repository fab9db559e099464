/**
 * `node web/build.mjs`: makes what pages take from others, and the standalone verifier, with what `package-lock.json` names.
 *
 * Into rpc/explorer/static/vendor, which git ignores and the wheel holds: the adapter of noble, uPlot, and their licences.
 * Into web/dist: chainnode-verifier.html. The same sources give the same bytes on every machine, so that a hash can be
 * published (docs/proofs.md). Files that would not change are left alone.
 */

import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

const WEB = dirname(fileURLToPath(import.meta.url));
const ROOT = dirname(WEB);
const STATIC = join(ROOT, 'rpc/explorer/static');
const VENDOR = join(STATIC, 'vendor');
const PACKAGES = ['@noble/curves', '@noble/hashes', 'uplot'];

/** Where the node serves the verifier, beside the scripts of its pages. */
const served = {
  name: 'served',
  setup: ({ onResolve }) =>
    onResolve({ filter: /^\.\.\/verifier\/[a-z0-9/]+\.mjs$/ }, ({ path, resolveDir }) =>
      basename(resolveDir) === 'js' ? { path: join(WEB, path.slice(3)) } : undefined,
    ),
};

/** One module or style sheet of all that a text imports. */
async function bundle(contents, loader = 'js') {
  const { outputFiles } = await build({
    absWorkingDir: ROOT,
    bundle: true,
    charset: 'utf8',
    external: ['../vendor/noble.mjs'],
    format: 'esm',
    legalComments: 'inline',
    logLevel: 'warning',
    minify: true,
    plugins: [served],
    stdin: { contents, loader, resolveDir: WEB },
    target: 'es2022',
    write: false,
  });
  return outputFiles[0].text;
}

const packageFile = (name, file) => readFileSync(join(WEB, 'node_modules', name, file), 'utf8');

/** The licences of what is bundled, which go wherever it goes. */
function licences(packages) {
  return packages.map((name) => {
    const { version } = JSON.parse(packageFile(name, 'package.json'));
    return `${name} ${version}\n\n${packageFile(name, 'LICENSE').trim()}\n`;
  }).join('\n\n');
}

function put(file, text) {
  if (existsSync(file) && readFileSync(file, 'utf8') === text) return;
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

const hashOf = (text) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;

/** One page that holds all of itself, may run and style nothing else, and may ask nobody. */
async function standalone() {
  const script = (await bundle("import './standalone/verifier.mjs';")).replaceAll('</script', '<\\/script');
  const style = await bundle("@import '../rpc/explorer/static/css/proof.css'; @import './standalone/verifier.css';", 'css');
  const allowed = `default-src 'none'; script-src ${hashOf(script)}; style-src ${hashOf(style)}; base-uri 'none'; form-action 'none'`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${allowed}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>chainnode verifier</title>
<style>${style}</style>
</head>
<body>
<noscript>This page verifies with JavaScript, in your browser alone.</noscript>
<script type="module">${script}</script>
</body>
</html>
<!--
${licences(['@noble/curves', '@noble/hashes'])}-->
`;
}

put(join(VENDOR, 'noble.mjs'), await bundle("export { nobleCrypto } from './verifier/adapters/noble.mjs';"));
put(join(VENDOR, 'uplot.mjs'), await bundle("export { default } from 'uplot';"));
put(join(VENDOR, 'uplot.css'), await bundle("@import 'uplot/dist/uPlot.min.css';", 'css'));
put(join(VENDOR, 'LICENSES.txt'), licences(PACKAGES));
put(join(WEB, 'dist', 'chainnode-verifier.html'), await standalone());
