/** Renews the parts of a page that change: `data-refresh-url` is asked for again while somebody looks. */

const EVERY_MS_MIN = 1_000;

export function keepLive(root = document) {
  for (const part of root.querySelectorAll('[data-refresh-url]')) {
    setInterval(() => renew(part), Math.max(Number(part.dataset.refreshMs) || 0, EVERY_MS_MIN));
  }
}

async function renew(part) {
  // Whoever reads or types in it is not to lose their place.
  if (document.hidden || part.contains(document.activeElement)) return;
  try {
    const response = await fetch(part.dataset.refreshUrl, { headers: { Accept: 'text/html' }, cache: 'no-store', redirect: 'error' });
    if (!response.ok) return;
    const parsed = new DOMParser().parseFromString(await response.text(), 'text/html');
    part.replaceChildren(...parsed.body.childNodes);
  } catch {
    // The node is away: what was shown stays, with its time.
  }
}
