// The broker in numbers: rates out of totals, and which of its clients somebody should look at.

/** Seconds over which the rate of this moment is taken: shorter ones jump. */
const SMOOTH_MS = 6_000;
/** How far back the charts go. */
export const KEPT_MS = 10 * 60_000;
/** How long a client that lost something is in trouble for it. */
const DROPS_MS = 5 * 60_000;
/** A client that is connected and says nothing for so long; most say something each minute. */
const SILENT_MS = 10 * 60_000;
/** Bytes that wait in memory for a connection at most. */
const MEMORY_MAX = 512 * 1024;
/** From this part on, a queue is nearly full. */
const NEARLY = 0.8;

const sum = (numbers) => numbers.reduce((all, one) => all + one, 0);

/** What of a status grows, as one sample. */
export function sampleOf({ time, up_ms: up, received, sent, dropped }) {
  return {
    at: Date.parse(time), up, in: sum(received.messages), out: sum(sent.messages),
    inQos: received.messages, outQos: sent.messages, inBytes: received.bytes, outBytes: sent.bytes,
    dropped: dropped.full + dropped.expired + dropped.too_large + dropped.lost,
  };
}

/** The samples with one more. Where the node has started anew they begin with it. */
export function withSample(samples, next) {
  const last = samples.at(-1);
  if (last && next.up === last.up) return samples;
  if (last && (next.up < last.up || next.in < last.in || next.out < last.out)) return [next];
  return [...samples.filter(({ up }) => next.up - up <= KEPT_MS), next];
}

/** How much a name grew in a second, between two samples. */
function rate(from, to, name) {
  return ((to[name] - from[name]) * 1000) / (to.up - from.up);
}

/** The rates of this moment; nothing before there are two samples. */
export function ratesOf(samples) {
  const last = samples.at(-1);
  const first = samples.find((one) => last.up - one.up <= SMOOTH_MS + 500);
  if (!first || first === last) return null;
  const of = (name) => rate(first, last, name);
  const each = (name) => last[name].map((count, qos) => (
    ((count - first[name][qos]) * 1000) / (last.up - first.up)
  ));
  return {
    in: of('in'), out: of('out'), inBytes: of('inBytes'), outBytes: of('outBytes'),
    inQos: each('inQos'), outQos: each('outQos'),
  };
}

/** How many messages were dropped within the time that samples are kept. */
export const droppedLately = (samples) => (
  samples.length > 1 ? samples.at(-1).dropped - samples[0].dropped : 0
);

/** The curve of a rate: [times in seconds, values]. */
export function curveOf(samples, name) {
  const [times, values] = [[], []];
  for (let i = 1; i < samples.length; i += 1) {
    times.push(samples[i].at / 1000);
    values.push(rate(samples[i - 1], samples[i], name));
  }
  return [times, values];
}

/** A rate as people read it. */
export function rateText(number) {
  if (number === 0) return '0';
  if (number < 0.095) return 'under 0.1';
  return number < 10 ? number.toFixed(1) : String(Math.round(number));
}

/**
 * When each client was last seen to lose messages, out of two lists of them: `known` maps a client
 * to `{ dropped, at }`.
 */
export function dropsOf(clients, known, now) {
  const next = new Map();
  for (const { client, dropped } of clients) {
    const before = known.get(client);
    const grew = before !== undefined && dropped > before.dropped;
    next.set(client, { dropped, at: grew ? now : before?.at ?? null });
  }
  return next;
}

/** What is wrong with a client, the gravest first: `{ tone, text, rank }`. */
export function troublesOf(client, { queueMax, drops, now }) {
  const found = [];
  const add = (rank, tone, text) => found.push({ rank, tone, text });
  const lost = drops?.get(client.client)?.at ?? null;
  if (lost !== null && now - lost < DROPS_MS) add(0, 'alarm', 'losing messages');
  if (client.kept && client.queued_bytes >= queueMax * NEARLY) add(1, 'warn', 'queue nearly full');
  if (client.memory_bytes >= MEMORY_MAX * NEARLY) add(1, 'warn', 'does not take what it is sent');
  if (!client.connected && client.queued > 0) add(2, 'warn', 'messages wait');
  const heard = Date.parse(client.last_packet);
  if (client.connected && now - heard > SILENT_MS) add(3, 'warn', 'not heard');
  if (client.dropped > 0 && found[0]?.rank !== 0) add(4, 'warn', 'has lost messages');
  return found;
}

const order = new Intl.Collator('en', { numeric: true }).compare;

/** Clients with their troubles: trouble first, then who is away, then by name. */
export function clientsInOrder(clients, known) {
  const ranked = clients.map((client) => {
    const troubles = troublesOf(client, known);
    return { ...client, troubles, rank: troubles[0]?.rank ?? (client.connected ? 6 : 5) };
  });
  return ranked.sort((a, b) => a.rank - b.rank || order(a.client, b.client));
}
