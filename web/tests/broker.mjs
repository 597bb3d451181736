// Answers of the broker's routes, for a site with a few clients or many. Times are told from now.

import { edgeStatus, iso } from './fixtures.mjs';

export const EVENTS = '/v1/mqtt/messages/events';

/** A message as the stream tells it. */
export function message(topic, text, change = {}) {
  const bytes = Buffer.byteLength(text);
  return { topic, text, bytes, cut: false, qos: 0, retain: false, at: iso(0), ...change };
}

export const retained = (topic, text, change = {}) => (
  message(topic, text, { retain: true, qos: 1, at: iso(-3 * 3_600_000), ...change })
);

export function client(name, change = {}) {
  return {
    client: name, owner: `device ${name}`, connected: true, peer: '192.168.1.40:51022',
    version: '3.1.1', last_packet: iso(-3_000), kept: true, expiry_s: 2_592_000,
    subscriptions: [`devices/${name}/#`], queued: 0, queued_bytes: 0, memory_bytes: 0, dropped: 0,
    ...change,
  };
}

/** Two hundred clients, a few of which are in trouble. */
export function site() {
  const clients = [];
  for (let i = 1; i <= 200; i += 1) clients.push(client(`pump-${String(i).padStart(3, '0')}`));
  Object.assign(clients[17], { queued: 9_120, queued_bytes: 60_000_000, version: '5' });
  Object.assign(clients[63], { last_packet: iso(-25 * 60_000) });
  Object.assign(clients[88], { dropped: 1_204 });
  Object.assign(clients[120], {
    connected: false, peer: null, version: null, last_packet: iso(-7_200_000), queued: 12,
    queued_bytes: 4_800,
  });
  return clients;
}

/** Totals that grow by 100 messages in and 250 out in each second of the node. */
export function totals(change = {}) {
  const start = Date.now() - 100_000;
  return () => {
    const up = Date.now() - start;
    const of = (rate) => [Math.floor((up * rate) / 1000), Math.floor((up * rate) / 4000), 0];
    return {
      time: iso(0), up_ms: up, connections: 200, sessions: 201, connected: 199, kept: 201,
      watchers: 1, queued_bytes: 60_004_800, queue_max_bytes: 64 << 20, queues_max_bytes: 1 << 30,
      retained: 23, retained_bytes: 4_096,
      received: { messages: of(80), bytes: up * 12 }, sent: { messages: of(200), bytes: up * 30 },
      dropped: { full: 1_204, expired: 0, too_large: 2, lost: 0, unseen: 0 },
      refused: { clients: 3, messages: 1, shed: 0, unread: 0 }, slowed: 7, ...change,
    };
  };
}

/** The routes; `clients` and `kept`, the retained messages, may be changed while a page is open. */
export function brokerRoutes(clients = site(), kept = [], change = {}) {
  const published = [];
  const first = () => [
    ...kept.map((one) => ['message', one]), ['ready', { retained: kept.length, left_out: 0 }],
  ];
  return {
    published,
    'GET /v1/status': () => edgeStatus(),
    'GET /v1/mqtt/status': totals(change),
    'GET /v1/mqtt/clients': (url) => {
      const text = url.searchParams.get('text') ?? '';
      const found = clients.filter((one) => `${one.client} ${one.owner} ${one.peer}`.includes(text));
      const connected = clients.filter((one) => one.connected).length;
      return { sessions: clients.length, connected, queued_bytes: 0, clients: found };
    },
    [`GET ${EVENTS}`]: (url) => (url.searchParams.get('filter').includes('#/')
      ? { status: 400, problem: '`#/a` is no topic filter: `#` at byte 0, expected last' }
      : { stream: first() }),
    'POST /v1/mqtt/messages': (url, body) => {
      if (body.topic.includes('#')) return { status: 422, problem: 'wildcard at byte 5' };
      published.push(body);
      return null;
    },
    'DELETE /v1/mqtt/retained': (url) => {
      const at = kept.findIndex(({ topic }) => topic === url.searchParams.get('topic'));
      kept.splice(at, 1);
      return null;
    },
    'DELETE *': (url) => {
      const id = decodeURIComponent(url.pathname.replace('/v1/mqtt/clients/', ''));
      const found = clients.find((one) => one.client === id);
      if (!found?.connected) return { status: 404, problem: `no client \`${id}\` is connected` };
      Object.assign(found, { connected: false, peer: null });
      return null;
    },
  };
}
