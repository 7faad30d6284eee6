/** Revisions of a view's ledger: they only ever go forwards. */

/**
 * A count and a token, "." between. It changes with every commit and reset of the view; `commitRun`
 * compares it. Equal revisions mean equal content, also where a Redis was restored from a backup and
 * went on from there.
 */
export type Revision = string;

/** How many commits and resets a revision has seen. */
export function countOfRevision(revision: Revision): number {
  return Number.parseInt(revision, 10);
}

/** Whether a ledger has lost what another revision of it had: it was emptied, or is an older copy. */
export function isBehind(revision: Revision, known: Revision): boolean {
  const [count, knownCount] = [countOfRevision(revision), countOfRevision(known)];
  return count < knownCount || (count === knownCount && revision !== known);
}
