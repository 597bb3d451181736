// The gateways of a fleet as the hub knows them: their states, and the order that puts trouble
// first.

export const STATES = [
  { id: 'stale', tone: 'alarm', meaning: 'was here, has not been heard for too long' },
  { id: 'never', tone: 'warn', meaning: 'enrolled, has never connected' },
  { id: 'online', tone: 'good', meaning: 'connected now' },
];

const order = new Intl.Collator('en', { numeric: true }).compare;
const rank = (node) => {
  const at = STATES.findIndex(({ id }) => id === node.state);
  return at < 0 ? STATES.length : at;
};

/** `site/name`. */
export const nameOf = ({ site, name }) => `${site}/${name}`;

/** Trouble first, then by name: a gateway moves only when its state changes. */
export function compareNodes(a, b) {
  return rank(a) - rank(b) || order(nameOf(a), nameOf(b));
}

/** Whether a gateway is known to have entries that the hub lacks. */
export const isBehind = (node) => (node.behind ?? 0) > 0;

/** The greatest backlog of an outage, to measure progress by: it starts anew after each zero. */
export function greatestBehind(before, behind) {
  if (behind === null || behind === undefined) return before;
  return behind === 0 ? 0 : Math.max(before, behind);
}
