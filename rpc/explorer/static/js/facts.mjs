/** What a verdict proves, as names and values in text: what is always shown beside what a page says of the same. */

/** Names in the order in which they are shown, by kind of proof. */
const SHOWN = {
  receipt: ['event_id', 'kind', 'member', 'outcome', 'rule', 'detail', 'time', 'height', 'index', 'log_index', 'reference', 'source', 'batch_number', 'body_hex'],
  status: ['number', 'status', 'exists', 'since', 'time', 'proved_from', 'proved_until', 'height', 'block_time'],
  history: ['number', 'status', 'time', 'events', 'height', 'block_time'],
  completeness: ['member', 'from_height', 'to_height', 'from', 'until', 'events', 'applied', 'batches'],
};
const OF_ALL = ['log_size', 'cosigned', 'chain_id'];

/**
 * The facts of a verdict, in the order in which they are shown; what is empty is left out.
 *
 * @param {string} kind
 * @param {any} verdict  of `verify`
 * @returns {Map<string, string>}
 */
export function factsOf(kind, verdict) {
  const facts = new Map();
  for (const name of [...(SHOWN[kind] ?? []), ...OF_ALL]) {
    const value = valueOf(kind, verdict, name);
    if (value !== null && value !== '') facts.set(name, value);
  }
  return facts;
}

function valueOf(kind, verdict, name) {
  const value = verdict[name];
  if (name === 'cosigned') return `${verdict.cosigned.by}/${verdict.cosigned.of}: ${verdict.cosigners.join(', ')}`;
  if (kind === 'receipt') {
    if (name === 'outcome') return value.applied ? 'applied' : 'rejected';
    if (name === 'rule' || name === 'detail') return verdict.outcome[name];
  }
  if (kind === 'history' && name === 'events') return String(value.length);
  return value === null || value === undefined ? null : String(value);
}

/** The names of the facts of a kind, of which each may be proved to be nothing. */
export function namesOf(kind) {
  return SHOWN[kind] ?? [];
}
