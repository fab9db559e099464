/**
 * Asking a node: this page's own one, or another by its URL. Whatever comes back is somebody's word until it is verified.
 */

const TEXT_MAX = 64 << 20;
const TRIES = 6;
const RETRY_MS = 500;
const RETRY_MS_MAX = 2_000;
const HANDOVERS_MAX = 64;

/** A node did not answer as asked; `status` is HTTP's, 0 where nothing came back. */
export class Unanswered extends Error {
  constructor(what, status = 0) {
    super(what);
    this.status = status;
  }
}

/** A node did not answer in time. */
export class TooSlow extends Unanswered {}

export class Node {
  /**
   * @param {string} [base]  URL without a slash at its end; the page's own node where empty
   * @param {typeof fetch} [fetcher]
   * @param {number} [patienceMs]  for each answer; without it as long as the browser waits
   */
  constructor(base = '', fetcher = (...given) => globalThis.fetch(...given), patienceMs = 0) {
    this.base = base;
    this.fetcher = fetcher;
    this.patienceMs = patienceMs;
  }

  /**
   * The text at a path. What is not proved yet is asked for again, for a few seconds.
   *
   * @param {string} path
   */
  async text(path) {
    for (let left = TRIES; ; left--) {
      const response = await this.#ask(path, { headers: { Accept: 'text/plain' }, cache: 'no-store' });
      if (response.ok) {
        const text = await response.text();
        if (text.length > TEXT_MAX) throw new Unanswered(`more than ${TEXT_MAX} characters`);
        return text;
      }
      if (response.status !== 503 || left === 1) throw new Unanswered(await whyOf(response), response.status);
      await pause(response.headers.get('Retry-After'));
    }
  }

  /**
   * @param {string} path
   * @returns {Promise<Uint8Array>}
   */
  async bytes(path) {
    const response = await this.#ask(path, { headers: { Accept: 'application/octet-stream' } });
    if (!response.ok) throw new Unanswered(await whyOf(response), response.status);
    return new Uint8Array(await response.arrayBuffer());
  }

  /**
   * The result of a JSON-RPC method.
   *
   * @param {string} method
   * @param {object} params
   */
  async call(method, params) {
    const response = await this.#ask('/', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Accept: 'application/json' },
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }),
      cache: 'no-store',
    });
    let answer;
    try {
      answer = await response.json();
    } catch {
      throw new Unanswered(`no JSON, HTTP ${response.status}`, response.status);
    }
    if (answer?.error || !answer || !('result' in answer)) {
      throw new Unanswered(String(answer?.error?.message ?? 'no result'), response.status);
    }
    return answer.result;
  }

  /**
   * The path from one size of the log to a larger one, for `relate`.
   *
   * @param {bigint} oldSize
   * @param {bigint} newSize
   */
  path(oldSize, newSize) {
    return this.call('ledger_getConsistency', { old_size: Number(oldSize), new_size: Number(newSize) });
  }

  /**
   * The handovers from one epoch to a later one.
   *
   * @param {bigint} from
   * @param {bigint} to
   */
  async handovers(from, to) {
    const found = [];
    for (let each = from; each < to && found.length < HANDOVERS_MAX; each++) {
      found.push(await this.bytes(`/handovers/${each}`));
    }
    return found;
  }

  async #ask(path, options) {
    const signal = this.patienceMs ? AbortSignal.timeout(this.patienceMs) : undefined;
    try {
      return await this.fetcher(this.base + path, { ...options, signal, credentials: 'same-origin', redirect: 'error' });
    } catch (error) {
      if (signal?.aborted) throw new TooSlow(`no answer within ${this.patienceMs / 1_000} s`);
      throw new Unanswered(`not reached: ${error instanceof Error ? error.message : error}`);
    }
  }
}

/** What a refusal says of itself: a JSON-RPC error, or its status alone. */
async function whyOf(response) {
  try {
    return String((await response.json()).error.message);
  } catch {
    return `HTTP ${response.status}`;
  }
}

function pause(retryAfter) {
  const asked = Number(retryAfter ?? 0) * 1_000;
  const time = Math.min(Math.max(asked || RETRY_MS, RETRY_MS), RETRY_MS_MAX);
  return new Promise((resolve) => setTimeout(resolve, time));
}

