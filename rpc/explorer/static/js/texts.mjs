/**
 * What the scripts say, in English and Chinese, by key; places are in braces. Whatever fills a place is written as text,
 * never as HTML. What the verifier itself says of a failure is English in both.
 */

import { ZH } from './chinese.mjs';
import { EN } from './english.mjs';

export const TEXTS = { en: EN, zh: ZH };

/**
 * The text of a key in a language; English where that has none.
 *
 * @param {string} language
 */
export function textsOf(language) {
  const own = TEXTS[language.split('-')[0]] ?? EN;
  return (key, places = {}) => {
    const text = own[key] ?? EN[key] ?? key;
    return text.replace(/\{([a-z]+2?)\}/g, (whole, name) => (name in places ? String(places[name]) : whole));
  };
}
