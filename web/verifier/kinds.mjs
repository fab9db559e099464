/** The names of the kinds of event, for people; a number is never given to another kind. */

const NAMES = new Map([
  [1n, 'certificate.apply'],
  [2n, 'certificate.accept'],
  [3n, 'certificate.type_test'],
  [4n, 'certificate.site_check'],
  [5n, 'certificate.review'],
  [6n, 'certificate.grant'],
  [7n, 'certificate.refuse'],
  [8n, 'certificate.suspend'],
  [9n, 'certificate.restore'],
  [10n, 'certificate.revoke'],
  [11n, 'certificate.cancel'],
  [12n, 'certificate.renew'],
  [32n, 'payment.statement'],
  [64n, 'member.declare_log_key'],
  [80n, 'governance.propose'],
  [81n, 'governance.vote'],
  [82n, 'governance.ready'],
  [83n, 'governance.withdraw'],
  [84n, 'governance.retire_source'],
  [96n, 'evidence.votes'],
  [97n, 'evidence.cosignatures'],
  [98n, 'evidence.batches'],
]);

/** @param {bigint} kind */
export function kindName(kind) {
  return NAMES.get(kind) ?? String(kind);
}
