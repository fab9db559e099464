/**
 * The standalone verifier: one file that a reader keeps on disk, opens without any node, and gives a proof and a policy.
 *
 * Its policy of content allows no connection at all, so that what is verified with it goes nowhere.
 */

import { choose, ofNoble } from '../../rpc/explorer/static/js/crypto.mjs';
import { make } from '../../rpc/explorer/static/js/dom.mjs';
import { fileVerifier } from '../../rpc/explorer/static/js/files.mjs';
import { textsOf } from '../../rpc/explorer/static/js/texts.mjs';
import { nobleCrypto } from '../verifier/adapters/noble.mjs';

const LANGUAGES = { en: 'English', zh: '中文' };
const TITLES = {
  en: ['Verifier of chainnode proofs', 'Verifies a proof under a policy, in this browser and with no network. Get the policy, and the SHA-256 of this very file, from somebody whom you trust.'],
  zh: ['chainnode 证明验证器', '在本浏览器内、不经网络，依策略验证证明。请从您信任的人处取得策略以及本文件的 SHA-256。'],
};

let chosen;
const cryptography = () => (chosen ??= choose([async () => ofNoble(nobleCrypto)]));

function show(language) {
  const [title, about] = TITLES[language];
  document.documentElement.lang = language === 'zh' ? 'zh-CN' : 'en';
  document.title = title;
  const buttons = Object.entries(LANGUAGES).map(([name, own]) =>
    make('button', { type: 'button', lang: name, 'aria-pressed': String(name === language), onclick: () => show(name) }, own),
  );
  const t = textsOf(language);
  document.body.replaceChildren(
    make('header', {}, make('h1', {}, title), make('p', { class: 'languages' }, ...buttons)),
    make('main', {}, make('p', {}, about), fileVerifier({ t, cryptography, context: null })),
  );
}

show(navigator.language.startsWith('zh') ? 'zh' : 'en');
