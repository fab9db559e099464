/** Payment statements by name, with words for numbers and decimal amounts. Source: docs/formats.md, Payment statements. */

import { hex } from '../verifier/bytes.mjs';
import { bytes, decode, int, list, optional, record, text } from '../verifier/msgpack.mjs';
import { refuse } from '../verifier/refused.mjs';
import { formatTime } from '../verifier/times.mjs';

const SIDES = [null, 'debtor', 'creditor', 'intermediary', 'acquirer', 'issuer', 'switch'];
const STATUS = [null, 'received', 'accepted', 'settled', 'rejected', 'returned', 'reversed'];
const CHANNELS = ['none', 'qr', 'pos', 'atm', 'app', 'hvps', 'beps', 'cips', 'offline'];
const ROLES = [
  null, 'debtor-agent', 'creditor-agent', 'instructing-agent', 'instructed-agent', 'intermediary-1', 'intermediary-2',
  'intermediary-3', 'acquirer', 'issuer',
];
const SCHEMES = [null, 'BIC', 'LEI', 'CNAPS'];
const TOKENS = [null, 'amount', 'settlement-date', 'instructed-amount', 'debtor-account', 'creditor-account'];

/** ISO 4217: the currencies whose minor unit is not a hundredth, and all others that have one. */
export const EXPONENTS = new Map([
  ...codes(0, 'BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF'),
  ...codes(
    2,
    'AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW CNY ' +
      'COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS ' +
      'INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR ' +
      'MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP ' +
      'STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG',
  ),
  ...codes(3, 'BHD IQD JOD KWD LYD OMR TND'),
  ...codes(4, 'CLF UYW'),
]);

const number = int(0n);
const statement = record({
  salt: bytes(),
  side: number,
  message_type: text(),
  status: number,
  reason: text(),
  amount: optional(number),
  currency: text(),
  amount_commitment: bytes(),
  settlement_date: number,
  agents: list(record({ role: number, scheme: number, code: text() })),
  channel: number,
  uetr: bytes(),
  reference_commitment: bytes(),
  pair_key: bytes(),
  tokens: list(record({ field: number, token: bytes() })),
  fields_root: bytes(),
  terminal_certificate: text(),
  source_digest: bytes(),
  time_ms: number,
});

/**
 * The body of a payment statement; throws `Refused` where it is none.
 *
 * @param {Uint8Array} body
 */
export function statementOf(body) {
  const said = decode(statement, body, 'body');
  return {
    side: word(SIDES, said.side),
    message_type: said.message_type,
    status: word(STATUS, said.status),
    reason: said.reason || null,
    amount: amountOf(said),
    currency: said.currency || null,
    amount_commitment: hex(said.amount_commitment) || null,
    settlement_date: said.settlement_date ? dateOf(said.settlement_date) : null,
    agents: said.agents.map(({ role, scheme, code }) => ({ role: word(ROLES, role), scheme: word(SCHEMES, scheme), code })),
    channel: word(CHANNELS, said.channel),
    uetr: hex(said.uetr).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-') || null,
    reference_commitment: hex(said.reference_commitment),
    pair_key: hex(said.pair_key) || null,
    tokens: Object.fromEntries(said.tokens.map(({ field, token }) => [word(TOKENS, field), hex(token)])),
    fields_root: hex(said.fields_root),
    terminal_certificate: said.terminal_certificate || null,
    source_digest: hex(said.source_digest),
    time: formatTime(said.time_ms),
    salt: hex(said.salt),
  };
}

function word(words, value) {
  return words[Number(value)] ?? refuse('body', `no word for ${value}`);
}

/** Decimal text of a clear amount; null where it is committed, absent, or of a currency that is not known here. */
function amountOf({ amount, currency }) {
  const exponent = EXPONENTS.get(currency);
  if (amount === null || exponent === undefined) return null;
  if (exponent === 0) return String(amount);
  const digits = String(amount).padStart(exponent + 1, '0');
  return `${digits.slice(0, -exponent)}.${digits.slice(-exponent)}`;
}

function dateOf(value) {
  return String(value).padStart(8, '0').replace(/^(.{4})(.{2})/, '$1-$2-');
}

function* codes(exponent, names) {
  for (const name of names.split(' ')) yield [name, exponent];
}
