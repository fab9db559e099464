/** Renews the parts of a page that change: `data-live="URL"` is asked for again every few seconds, while it is looked at. */

const EVERY_MS = 5_000;

export function keepLive(root = document) {
  const parts = [...root.querySelectorAll('[data-live]')];
  if (parts.length) setInterval(() => parts.forEach(renew), EVERY_MS);
}

async function renew(part) {
  // Whoever reads or types in it is not to lose their place.
  if (document.hidden || part.contains(document.activeElement)) return;
  try {
    const response = await fetch(part.dataset.live, { headers: { Accept: 'text/html' }, cache: 'no-store', redirect: 'error' });
    if (!response.ok) return;
    const parsed = new DOMParser().parseFromString(await response.text(), 'text/html');
    part.replaceChildren(...parsed.body.childNodes);
  } catch {
    // The node is away: what was shown stays, with its time.
  }
}
