/** The words of the pages' language for values of closed sets and names of fields, as they are served with the scripts. */

/** @type {Promise<Record<string, string>> | undefined} */
let asked;

/** @returns {Promise<Record<string, string>>} */
export function wordsOf(language) {
  asked ??= read(language.split('-')[0]);
  return asked;
}

async function read(language) {
  const response = await fetch(new URL(`../words/${language === 'zh' ? 'zh' : 'en'}.json`, import.meta.url));
  if (!response.ok) throw new Error(`the words of this page are not there: HTTP ${response.status}`);
  return response.json();
}
