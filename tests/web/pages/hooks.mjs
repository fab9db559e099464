// Where the node serves web/verifier and what `make web` makes, for modules of pages that run in Node.

import { registerHooks } from 'node:module';

const VERIFIER = new URL('../../../web/verifier/', import.meta.url);
const SERVED = new URL('../../../rpc/explorer/static/verifier/', import.meta.url);

registerHooks({
  resolve(specifier, context, next) {
    if (!specifier.startsWith('.')) return next(specifier, context);
    const url = new URL(specifier, context.parentURL).href;
    return next(url.startsWith(SERVED.href) ? url.replace(SERVED.href, VERIFIER.href) : url, context);
  },
});
