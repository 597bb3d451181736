// The page of the hub. Trouble comes first: active alerts, then gateways with an alert, silent ones,
// those far behind, with a wrong clock, those that never came, then the ones at work. The filter
// stands in the address (`?site=north&q=ps-0&state=trouble`). A gateway opens with its state in words, the backlog it still has to send,
// and a live chart in which the gap of an outage is seen filling up.

import { classes, html, render, useMemo, useState } from './lib/ui.js';
import { Alerts } from './lib/alerts.js';
import { AddGateway, RemoveGateway } from './lib/enrol.js';
import { NodeDetail } from './lib/node.js';
import { OpenConflicts } from './lib/conflicts.js';
import { path } from './lib/api.js';
import { useAnswer, useFeed, useHash, useQuery } from './lib/hooks.js';
import {
  STATES, filtered, inOrder, isBehind, isTroubled, nameOf, sitesOf,
} from './lib/fleet.js';
import {
  Age, Disk, Findings, Head, Pipeline, Tabs, Tile, Waiting, When, clockWords, fleetTitleOf,
} from './lib/parts.js';
import { Pane } from './lib/pane.js';
import { Gate } from './lib/session.js';
import { Table } from './lib/table.js';
import { count, counted } from './lib/units.js';

function Hub({ session, signOut }) {
  const feed = useFeed('/v1/nodes', { ofFleet: true });
  const about = useAnswer('/v1/status', [Math.floor(Date.now() / ABOUT_MS)]).answer;
  const nodes = feed.status?.nodes;
  return html`
    <${Head} title=${fleetTitleOf(about)} kind="hub" feed=${feed} session=${session}
      signOut=${signOut} />
    <${Tabs} kind="hub" here="fleet" />
    <main>
      <${Alerts} feed=${feed} mayChange=${session.scope === 'admin'} ofFleet />
      <${OpenConflicts} mayChange=${session.scope === 'admin'} />
      ${nodes ? html`<${Fleet} nodes=${nodes} feed=${feed} about=${about}
        mayChange=${session.scope === 'admin'} />`
        : html`<${Waiting} feed=${feed} />`}
    </main>`;
}

/** The hub's own state changes slowly. */
const ABOUT_MS = 15_000;

function Fleet({ nodes, feed, about, mayChange }) {
  const [hash, go] = useHash();
  const [query, ask] = useQuery();
  const [adding, setAdding] = useState(false);
  const alerted = useAlerted(feed.alerts);
  const shown = useMemo(() => inOrder(filtered(nodes, query, alerted), alerted),
    [nodes, query, alerted]);
  const opened = nodes.find((node) => nameOf(node) === hash.node);
  const close = () => go({});
  const open = (node) => {
    setAdding(false);
    go({ node: nameOf(node), range: hash.range });
  };
  const add = () => {
    close();
    setAdding(true);
  };
  return html`
    ${about && html`<${Findings} findings=${about.findings} command="holdfast-hub verify" />`}
    <${Summary} nodes=${nodes} about=${about} alerted=${alerted} query=${query} ask=${ask} />
    <div class=${classes('split', (opened || adding) && 'open')}>
      <section class="list" aria-label="Gateways">
        <div class="row toolbar">
          <h2>${titleOf(shown.length, nodes.length)}</h2>
          <${Sites} nodes=${nodes} chosen=${query.site} choose=${(site) => ask({ site })} />
          <input type="search" placeholder="Filter by name, label or id" value=${query.q ?? ''}
            aria-label="Filter by name, label or id"
            onInput=${(event) => ask({ q: event.currentTarget.value })} />
          ${mayChange && html`<button class="primary" onClick=${add}>Add gateway</button>`}
        </div>
        ${nodes.length === 0 && html`<${Empty} add=${mayChange && add} />`}
        ${nodes.length > 0 && shown.length === 0 && html`<p class="empty">No gateway fits.${' '}
          <button class="quiet" onClick=${() => ask(NO_FILTER)}>Show all</button></p>`}
        ${shown.length > 0 && html`
          <${Table} label="Gateways" columns=${columnsOf(alerted)}
            groups=${[{ key: 'all', rows: shown }]}
            keyOf=${nameOf} opened=${opened && nameOf(opened)} open=${open} />`}
      </section>
      ${adding && html`<${Pane} title="Add gateway" close=${() => setAdding(false)}>
        <${AddGateway} /><//>`}
      ${opened && !adding && html`<${Opened} key=${nameOf(opened)} node=${opened} feed=${feed}
        hash=${hash} go=${go} mayChange=${mayChange} />`}
    </div>`;
}

const NO_FILTER = { site: null, q: null, state: null };
const ALERTS_MAX = 1000;

const titleOf = (shown, all) => (
  shown === all ? counted(all, 'gateway') : `${count(shown)} of ${counted(all, 'gateway')}`
);

/** The gateways with an active alert, each with the text of its gravest. */
function useAlerted(changes) {
  const { answer } = useAnswer(path('/v1/alerts', { state: 'active', limit: ALERTS_MAX }), [changes]);
  return useMemo(() => {
    const alerted = new Map();
    for (const { gateway, node, text } of answer?.alerts ?? []) {
      const name = gateway ?? node;
      if (!alerted.has(name)) alerted.set(name, text);
    }
    return alerted;
  }, [answer]);
}

function Sites({ nodes, chosen, choose }) {
  const sites = useMemo(() => sitesOf(nodes), [nodes]);
  if (sites.length < 2 && !chosen) return null;
  return html`
    <select aria-label="Site" value=${chosen ?? ''}
      onChange=${(event) => choose(event.currentTarget.value)}>
      <option value="">All sites</option>
      ${sites.map((site) => html`<option key=${site} value=${site}>${site}</option>`)}
    </select>`;
}

function Opened({ node, feed, hash, go, mayChange }) {
  const close = () => go({ range: hash.range });
  return html`
    <${Pane} title=${nameOf(node)} subtitle=${node.label} badge=${html`<${State} node=${node} />`} close=${close}
      actions=${mayChange && html`<${RemoveGateway} node=${node} done=${close} />`}>
      <${NodeDetail} node=${node} feed=${feed} hash=${hash} go=${go} mayChange=${mayChange} />
    <//>`;
}

function Summary({ nodes, about, alerted, query, ask }) {
  const behind = nodes.reduce((sum, node) => sum + (node.behind ?? 0), 0);
  const catching = nodes.filter(isBehind).length;
  const unknown = nodes.filter((node) => node.behind === null && node.state === 'stale').length;
  const troubled = nodes.filter((node) => isTroubled(node, alerted)).length;
  const choice = (state, number) => html`
    <${Count} key=${state.id} state=${state} number=${number} isOnly=${query.state === state.id}
      choose=${() => ask({ state: query.state === state.id ? null : state.id })} />`;
  return html`
    <div class="tiles">
      <section class="tile states" aria-label="Gateways by state">
        <h2>Gateways</h2>
        <div class="row counts">
          ${choice(TROUBLE, troubled)}
          ${STATES.map((state) => (
            choice(state, nodes.filter((node) => node.state === state.id).length)))}</div>
      </section>
      <${Tile} name="Still at the gateways" tone=${behind + unknown > 0 ? undefined : 'good'}
        answer=${behind > 0 ? counted(behind, 'entry', 'entries') : 'Nothing'}>
        ${catching > 0 && html`<p class="muted">${counted(catching, 'gateway')} behind.</p>`}
        ${unknown > 0 && html`<p class="muted">Not known of${' '}
          ${counted(unknown, 'silent gateway')}.</p>`}
      <//>
      ${about && html`<${Disk} store=${about.store} /><${Pipeline} pipeline=${about.pipeline} />`}
    </div>`;
}

const TROUBLE = {
  id: 'trouble', name: 'in trouble', tone: 'alarm',
  meaning: 'with an alert, silent, far behind, with a wrong clock, or never came',
};

/** How many gateways are in a state; pressed, the list holds only those. */
function Count({ state, number, isOnly, choose }) {
  const look = classes('count', number > 0 && state.tone, isOnly && 'down');
  return html`
    <button class=${look} aria-pressed=${isOnly ? 'true' : 'false'} title=${state.meaning}
      onClick=${choose}><strong>${count(number)}</strong> ${state.name}</button>`;
}

function State({ node }) {
  const state = STATES.find(({ id }) => id === node.state);
  return html`<span class=${classes('badge', state?.tone)} title=${state?.meaning}
    >${state?.name ?? node.state}</span>`;
}

function Behind({ node }) {
  const text = typeof node.behind === 'number' ? count(node.behind) : '–';
  return isBehind(node) ? html`<strong>${text}</strong>` : html`<span class="muted">${text}</span>`;
}

/** What is wrong with a gateway, or nothing at all. */
function remarks(node, alerted) {
  const off = clockWords(node.clock_ahead_ms);
  const alert = alerted.get(nameOf(node));
  const reason = node.state !== 'online' && node.end_reason;
  return [
    alert && html`<span key="alert" class="flag alarm">${alert}</span>`,
    off && html`<span key="clock" class="flag warn" title="its clock, by the hub's">
      clock ${off}</span>`,
    reason && html`<span key="end" class="flag">${reason}</span>`,
  ].filter(Boolean);
}

const columnsOf = (alerted) => [
  {
    name: 'Gateway',
    class: 'name',
    cell: ({ site, name, label }) => html`
      <span class="muted">${site}/</span>${name}${label && html` <span class="label">${label}</span>`}`,
  },
  { name: 'State', class: 'state', cell: (node) => html`<${State} node=${node} />` },
  { name: 'Since', class: 'since', told: true, cell: ({ since }) => html`<${When} time=${since} />` },
  { name: 'Behind', class: 'number', told: true, cell: (node) => html`<${Behind} node=${node} />` },
  {
    name: 'Last reading',
    class: 'age',
    told: true,
    cell: (node) => html`<${Age} time=${node.last_received} />`,
  },
  { name: 'Remarks', class: 'remarks', cell: (node) => remarks(node, alerted) },
  { name: 'Version', class: 'version', told: true, cell: (node) => node.version ?? '–' },
];

function Empty({ add }) {
  return html`
    <section class="empty card">
      <h2>No gateway yet</h2>
      <p>A gateway joins with one string: give it a site and a name here, and run the command you
        get on its machine.</p>
      ${add ? html`<p><button class="primary" onClick=${add}>Add the first gateway</button></p>`
        : html`<p>That takes an administrator's token.</p>`}
    </section>`;
}

render(html`<${Gate} kind="hub" page=${Hub}
  command="holdfast-hub token new --viewer --name NAME" />`, document.getElementById('app'));
