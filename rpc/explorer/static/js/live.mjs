/**
 * Renews the parts of a page that change: `data-refresh-url` is asked for again while somebody looks.
 *
 * What is the same stays the same element, so that whoever reads, types, selects or is told an alarm keeps their place and
 * is told it once. The line `[data-live]` says politely how far the node is, at most once a minute, and stops all of it.
 */

const EVERY_MS_MIN = 1_000;
const EVERY_MS_MAX = 60_000;
const SAY_EVERY_MS = 60_000;
const RIGHTS_ENDED = [401, 403];

export function keepLive(root = document) {
  for (const part of root.querySelectorAll('[data-refresh-url]')) new Live(part, root.querySelector('[data-live]')).begin();
}

class Live {
  #paused = false;
  #saidAt = -SAY_EVERY_MS;
  #timer = 0;
  #wait;

  /**
   * @param {HTMLElement} part
   * @param {HTMLElement | null} line
   */
  constructor(part, line) {
    this.part = part;
    this.line = line;
    this.every = Math.max(Number(part.dataset.refreshMs) || 0, EVERY_MS_MIN);
    this.#wait = this.every;
  }

  begin() {
    if (this.line) {
      this.line.hidden = false;
      this.line.querySelector('button').addEventListener('click', () => this.#toggle());
      this.#say('on', true);
    }
    document.addEventListener('visibilitychange', () => document.hidden || this.#next(0));
    this.#next(this.every);
  }

  #toggle() {
    this.#paused = !this.#paused;
    const button = this.line.querySelector('button');
    button.textContent = this.#paused ? button.dataset.resume : button.dataset.pause;
    this.#say(this.#paused ? 'off' : 'on', true);
    this.#next(0);
  }

  #next(after) {
    clearTimeout(this.#timer);
    if (!this.#paused) this.#timer = setTimeout(() => this.#turn(), after);
  }

  async #turn() {
    // Nobody looks: the next look asks at once.
    if (document.hidden) return;
    const found = await this.#renew();
    this.#wait = found === 'on' ? this.every : Math.min(this.#wait * 2, EVERY_MS_MAX);
    if (!this.#paused) this.#say(found, found !== 'on');
    this.#next(this.#wait);
  }

  /** How it went, as what is said of it is named. */
  async #renew() {
    try {
      const response = await fetch(this.part.dataset.refreshUrl, { headers: { Accept: 'text/html' }, cache: 'no-store', redirect: 'error' });
      if (!response.ok) return RIGHTS_ENDED.includes(response.status) ? 'ended' : 'away';
      const parsed = new DOMParser().parseFromString(await response.text(), 'text/html');
      if (!this.#paused && !selectsIn(this.part)) renewed(this.part, parsed.body);
      return 'on';
    } catch {
      return 'away';
    }
  }

  /** What is said changes at most once a minute, unless it must be said now. */
  #say(what, now = false) {
    const said = this.line?.querySelector('[role=status]');
    if (!said || (!now && what === said.dataset.state && performance.now() < this.#saidAt + SAY_EVERY_MS)) return;
    const height = this.part.querySelector('[data-height]')?.dataset.height ?? '';
    const text = said.dataset[what].replace('{height}', height);
    if (said.textContent !== text) said.textContent = text;
    said.dataset.state = what;
    this.#saidAt = performance.now();
  }
}

/** Whoever has marked a text in it is about to copy it. */
function selectsIn(part) {
  const selection = getSelection();
  return Boolean(selection && !selection.isCollapsed && part.contains(selection.anchorNode));
}

/**
 * Make the children of an element those of a newer one. Children with the same `data-key` are looked into: equal ones stay,
 * and so does a chart that was drawn, with the newer figures in it.
 *
 * @param {Element} old
 * @param {Element} fresh
 */
export function renewed(old, fresh) {
  const focused = placeOfFocus(old);
  const wanted = new Set([...fresh.children].map((child) => child.dataset.key));
  for (const child of [...old.children]) if (!child.dataset.key || !wanted.has(child.dataset.key)) child.remove();
  const held = new Map([...old.children].map((child) => [child.dataset.key, child]));
  let place = old.firstElementChild;
  for (const child of [...fresh.children]) {
    const kept = held.get(child.dataset.key);
    const next = kept ? merged(kept, child) : child;
    if (kept && kept === place) {
      // Never moved: what is moved loses the focus.
      place = place.nextElementSibling;
      if (next !== kept) kept.replaceWith(next);
    } else {
      old.insertBefore(next, place);
    }
  }
  focused();
}

function merged(kept, child) {
  if (kept.isEqualNode(child)) return kept;
  if (kept.dataset.chart) return updated(kept, child);
  if (!kept.querySelector('[data-chart]')) return child;
  // Around charts: sections, whose figures alone change.
  for (const figure of child.querySelectorAll('[data-chart]')) {
    const own = kept.querySelector(`[data-key="${CSS.escape(figure.dataset.key)}"]`);
    if (own) updated(own, figure);
  }
  return kept;
}

/** Put newer figures into a chart; whoever drew it is told. */
function updated(figure, fresh) {
  for (const name of ['svg', 'figcaption', 'tbody']) {
    const [own, other] = [figure.querySelector(`:scope ${name}`), fresh.querySelector(`:scope ${name}`)];
    if (!own || !other || own.isEqualNode(other)) continue;
    if (own.hasAttribute('hidden')) other.setAttribute('hidden', '');
    own.replaceWith(other);
  }
  figure.dispatchEvent(new CustomEvent('renewed'));
  return figure;
}

/** Remember which link, button or scrolled part has the focus; call what comes back to give it the focus again. */
function placeOfFocus(part) {
  const active = document.activeElement;
  if (!active || !part.contains(active)) return () => {};
  const key = (element) => element.id || element.getAttribute('href') || element.getAttribute('aria-label') || element.textContent;
  const alike = () => [...part.querySelectorAll(active.localName)].filter((element) => key(element) === key(active));
  const place = alike().indexOf(active);
  return () => {
    if (document.activeElement === active) return;
    const now = active.isConnected ? active : alike()[Math.max(place, 0)];
    now?.focus({ preventScroll: true });
  };
}
