// The clients of the broker, those first that somebody should look at. One opens with what it has
// subscribed to, and with the button that ends its connection.

import { classes, html, useMemo } from './ui.js';
import { remove } from './api.js';
import { clientsInOrder } from './broker.js';
import { Confirm } from './confirm.js';
import { Pane } from './pane.js';
import { Age, When } from './parts.js';
import { Table } from './table.js';
import { clock } from './time.js';
import { bytes, count, counted } from './units.js';

/** Clients that are shown at first: below them is the tree. */
const FIRST = 12;

export function Clients({ broker, text, ask, opened, go, mayChange }) {
  const { status, list, drops } = broker;
  const clients = useMemo(() => {
    const known = { queueMax: status.queue_max_bytes, drops, now: clock.now() };
    return clientsInOrder(list?.clients ?? [], known);
  }, [list, drops, status.queue_max_bytes]);
  if (!list) return html`<p class="waiting">Loading…</p>`;
  const troubled = clients.filter(({ troubles }) => troubles.length > 0).length;
  const one = opened === undefined ? undefined
    : clients.find(({ client }) => client === opened);
  return html`
    <div class=${classes('split', one && 'open')}>
      <section class="list clients" aria-label="Clients">
        <div class="row toolbar">
          <h2>${counted(list.sessions, 'session')}${troubled > 0
            && html` <span class="badge warn">${count(troubled)} in trouble</span>`}</h2>
          <input type="search" placeholder="Client, owner or address" value=${text}
            aria-label="Filter by client, owner or address"
            onInput=${(event) => ask({ q: event.currentTarget.value })} />
        </div>
        ${clients.length > 0 ? html`<${Table} label="Clients" columns=${COLUMNS} first=${FIRST}
            groups=${[{ key: 'all', rows: clients }]} keyOf=${({ client }) => client}
            open=${({ client }) => go({ client })} opened=${one?.client} />`
          : html`<p class="empty">${text ? `No client is called “${text}”.` : NOBODY}</p>`}
        ${!text && clients.length < list.sessions && html`<p class="more muted">The first
          ${' '}${count(clients.length)}; the filter finds the others.</p>`}
      </section>
      ${one && html`<${Client} key=${one.client} client=${one} mayChange=${mayChange}
        close=${() => go({})} done=${broker.reload} />`}
    </div>`;
}

const NOBODY = 'Nobody has connected yet. A client signs in with a token of this node as its '
  + 'password; the user name is not looked at.';

function State({ client: { connected, troubles } }) {
  return html`
    <span class=${classes('badge', connected ? 'good' : '')}>${connected ? 'connected' : 'away'}</span>
    ${troubles.map(({ tone, text }) => html` <span key=${text} class=${classes('badge', tone)}
      >${text}</span>`)}`;
}

/** What waits for a client, on disk or in memory; where nothing does, nothing is said. */
function queueOf({ queued, queued_bytes: size, memory_bytes: memory }) {
  if (queued > 0) return `${count(queued)}, ${bytes(size)}`;
  return memory > 0 ? bytes(memory) : null;
}

const droppedOf = ({ dropped }) => (dropped > 0 ? count(dropped) : null);

const COLUMNS = [
  { name: 'Client', class: 'name', cell: ({ client }) => html`<bdi>${client}</bdi>` },
  { name: 'State', class: 'state', cell: (client) => html`<${State} client=${client} />` },
  {
    name: 'Last packet', class: 'age', told: true,
    cell: ({ last_packet: last }) => html`<${Age} time=${last} />`,
  },
  { name: 'Queue', class: 'queue', told: true, cell: queueOf },
  { name: 'Dropped', class: 'number', told: true, cell: droppedOf },
  { name: 'Session', class: 'kept', told: true, cell: ({ kept }) => (kept ? 'kept' : 'not kept') },
  { name: 'MQTT', class: 'version', told: true, cell: ({ version }) => version },
  { name: 'From', class: 'peer', told: true, cell: ({ peer }) => peer },
];

function Client({ client, mayChange, close, done }) {
  const { client: id, owner, subscriptions } = client;
  const kick = mayChange && client.connected && html`
    <${Confirm} word="End connection…" title=${`End the connection of ${id}?`} yes="End it"
      no="Leave it" act=${() => remove(`/v1/mqtt/clients/${encodeURIComponent(id)}`)} done=${done}>
      It may connect again at once, unless its token is taken away. What waits for a kept session
      goes on waiting.
    <//>`;
  return html`
    <${Pane} title=${id} subtitle=${owner} badge=${html`<${State} client=${client} />`}
      actions=${kick} close=${close}>
      <dl>
        <dt>From</dt><dd>${client.peer ?? '–'}</dd>
        <dt>Version</dt><dd>${client.version ?? '–'}</dd>
        <dt>${client.connected ? 'Last packet' : 'Away since'}</dt>
        <dd><${When} time=${client.last_packet} whole /> (<${Age} time=${client.last_packet} />)</dd>
        <dt>Session</dt><dd>${keptWords(client)}</dd>
        <dt>Waits on disk</dt>
        <dd>${counted(client.queued, 'message')}, ${bytes(client.queued_bytes)}</dd>
        <dt>Waits in memory</dt><dd>${bytes(client.memory_bytes)}</dd>
        <dt>Dropped</dt><dd>${counted(client.dropped, 'message')} since the start of the node</dd>
      </dl>
      <h3>${counted(subscriptions.length, 'subscription')}</h3>
      <ul class="filters">${subscriptions.map((filter) => html`
        <li key=${filter}><code>${filter}</code></li>`)}</ul>
    <//>`;
}

function keptWords({ kept, expiry_s: seconds }) {
  if (!kept) return 'ends with the connection';
  if (seconds === null || seconds === undefined) return 'kept for ever';
  const hours = Math.round(seconds / 3600);
  return hours < 1 ? `kept for ${counted(seconds, 'second')}`
    : hours < 48 ? `kept for ${counted(hours, 'hour')}`
      : `kept for ${counted(Math.round(hours / 24), 'day')}`;
}
