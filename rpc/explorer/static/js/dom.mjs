/** Building parts of a page. Everything that is written into one is text: nothing here takes HTML. */

/**
 * A new element with attributes, listeners (functions under `onNAME`) and children, which are elements or texts.
 *
 * @param {string} name
 * @param {Record<string, unknown>} [attributes]
 * @param {...(Node | string | null)} children
 */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === 'function') element.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value === true ? '' : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** A link that saves a text as a file. */
export function saving(label, name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: 'text/plain' }));
  return make('a', { href: url, download: name, class: 'save' }, label);
}

let lastId = 0;

/** A field under its label. */
export function labelled(text, field) {
  lastId += 1;
  field.id = `js-field-${lastId}`;
  return make('p', { class: 'field' }, make('label', { for: field.id }, text), field);
}

/** 64 hex digits in groups of eight, for reading out. */
export function hashShown(hash) {
  return make('code', { class: 'hash', 'data-hash': hash }, hash.match(/.{1,8}/g).join(' '));
}

/** The text of a file that was chosen or dropped; rejects where it is too large or no UTF-8. */
export async function textOfFile(file, most) {
  if (file.size > most) throw new Error(file.name);
  return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(await file.arrayBuffer());
}
