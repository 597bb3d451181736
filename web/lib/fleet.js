// The gateways of a fleet as the hub knows them: their states, what is wrong with each, the order
// that puts trouble first, and the filter.

/** Fewer entries are the ordinary way of live readings; `holdfast-hub status` says it alike. */
const FAR_BEHIND = 1_000;
/** A clock further off than this is worth a word. */
export const CLOCK_OFF_MS = 2_000;

export const STATES = [
  { id: 'stale', tone: 'alarm', name: 'silent', meaning: 'was here, has no connection now' },
  { id: 'never', tone: 'warn', name: 'never came', meaning: 'enrolled, has not connected' },
  { id: 'online', tone: 'good', name: 'online', meaning: 'connected now' },
];

const order = new Intl.Collator('en', { numeric: true }).compare;
/** What is wrong with a gateway, the gravest first; the position is its rank. */
const TROUBLES = [
  (node, { alerted }) => alerted.has(nameOf(node)),
  (node) => node.state === 'stale',
  (node) => (node.behind ?? 0) >= FAR_BEHIND,
  (node) => Math.abs(node.clock_ahead_ms ?? 0) >= CLOCK_OFF_MS,
  (node) => node.state === 'never',
];

function rank(node, alerted) {
  const at = TROUBLES.findIndex((is) => is(node, { alerted }));
  return at < 0 ? TROUBLES.length : at;
}

/** `site/name`. */
export const nameOf = ({ site, name }) => `${site}/${name}`;

/** Whether something is wrong with a gateway; `alerted` names those with an active alert. */
export const isTroubled = (node, alerted = new Set()) => rank(node, alerted) < TROUBLES.length;

/** Trouble first, then by name: a gateway moves only when what is wrong with it changes. */
export function inOrder(nodes, alerted = new Set()) {
  const ranked = nodes.map((node) => ({ node, rank: rank(node, alerted), name: nameOf(node) }));
  ranked.sort((a, b) => a.rank - b.rank || order(a.name, b.name));
  return ranked.map(({ node }) => node);
}

/** Those of a site, with every word of `q` in id, name or label, and in a state or in trouble. */
export function filtered(nodes, { site, q = '', state }, alerted = new Set()) {
  const words = q.toLowerCase().split(/\s+/);
  return nodes.filter((node) => {
    if (site && node.site !== site) return false;
    if (state === 'trouble' && !isTroubled(node, alerted)) return false;
    if (state && state !== 'trouble' && node.state !== state) return false;
    const names = `${nameOf(node)} ${node.label ?? ''} ${node.id}`.toLowerCase();
    return words.every((word) => names.includes(word));
  });
}

/** The sites of a fleet, by name. */
export function sitesOf(nodes) {
  return [...new Set(nodes.map(({ site }) => site))].sort(order);
}

/** Whether a gateway is known to have entries that the hub lacks. */
export const isBehind = (node) => (node.behind ?? 0) > 0;

/** The greatest backlog of an outage, to measure progress by: it starts anew after each zero. */
export function greatestBehind(before, behind) {
  if (behind === null || behind === undefined) return before;
  return behind === 0 ? 0 : Math.max(before, behind);
}
