// The page of the hub. Trouble comes first: active alerts, then gateways that fell silent, then those that never came,
// then the ones at work. A gateway opens with its state in words, the backlog it still has to send,
// and a live chart in which the gap of an outage is seen filling up.

import { classes, html, render, useMemo, useState } from './lib/ui.js';
import { Alerts } from './lib/alerts.js';
import { AddGateway, RemoveGateway } from './lib/enrol.js';
import { NodeDetail } from './lib/node.js';
import { useAnswer, useFeed, useHash } from './lib/hooks.js';
import { compareNodes, isBehind, nameOf, STATES } from './lib/fleet.js';
import { Age, Disk, Findings, Head, Pipeline, Tile, Waiting, clockWords } from './lib/parts.js';
import { Pane } from './lib/pane.js';
import { Gate } from './lib/session.js';
import { Table } from './lib/table.js';
import { moment, stamp } from './lib/time.js';
import { count, counted, shortId } from './lib/units.js';

function Hub({ session, signOut }) {
  const feed = useFeed('/v1/nodes', { ofFleet: true });
  const about = useAnswer('/v1/status', [Math.floor(Date.now() / ABOUT_MS)]).answer;
  const nodes = feed.status?.nodes;
  const fleet = about?.node?.fleet;
  return html`
    <${Head} title=${fleet ? `Fleet ${shortId(fleet)}` : 'Fleet'} kind="hub"
      feed=${feed} session=${session} signOut=${signOut} />
    <main>
      <${Alerts} feed=${feed} mayChange=${session.scope === 'admin'} ofFleet />
      ${nodes ? html`<${Fleet} nodes=${nodes} feed=${feed} about=${about}
        mayChange=${session.scope === 'admin'} />`
        : html`<${Waiting} feed=${feed} />`}
    </main>`;
}

/** The hub's own state changes slowly. */
const ABOUT_MS = 15_000;

function Fleet({ nodes, feed, about, mayChange }) {
  const [hash, go] = useHash();
  const [text, setText] = useState('');
  const [only, setOnly] = useState(null);
  const [adding, setAdding] = useState(false);
  const shown = useMemo(() => choose(nodes, text, only), [nodes, text, only]);
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
  const showAll = () => {
    setText('');
    setOnly(null);
  };
  return html`
    ${about && html`<${Findings} findings=${about.findings} command="holdfast-hub verify" />`}
    <${Summary} nodes=${nodes} about=${about} only=${only} setOnly=${setOnly} />
    <div class=${classes('split', (opened || adding) && 'open')}>
      <section class="list" aria-label="Gateways">
        <div class="row toolbar">
          <h2>${counted(nodes.length, 'gateway')}</h2>
          <input type="search" placeholder="Filter by site, name or label" value=${text}
            aria-label="Filter by site, name or label"
            onInput=${(event) => setText(event.currentTarget.value)} />
          ${mayChange && html`<button class="primary" onClick=${add}>Add gateway</button>`}
        </div>
        ${nodes.length === 0 && html`<${Empty} add=${mayChange && add} />`}
        ${nodes.length > 0 && shown.length === 0 && html`<p class="empty">No gateway fits.${' '}
          <button class="quiet" onClick=${showAll}>Show all</button></p>`}
        ${shown.length > 0 && html`
          <${Table} label="Gateways" columns=${COLUMNS} groups=${[{ key: 'all', rows: shown }]}
            keyOf=${nameOf} opened=${opened && nameOf(opened)} open=${open} />`}
      </section>
      ${adding && html`<${Pane} title="Add gateway" close=${() => setAdding(false)}>
        <${AddGateway} /><//>`}
      ${opened && !adding && html`<${Opened} key=${nameOf(opened)} node=${opened} feed=${feed}
        hash=${hash} go=${go} mayChange=${mayChange} />`}
    </div>`;
}

function Opened({ node, feed, hash, go, mayChange }) {
  const close = () => go({ range: hash.range });
  return html`
    <${Pane} title=${nameOf(node)} subtitle=${node.label} badge=${html`<${State} node=${node} />`} close=${close}
      actions=${mayChange && html`<${RemoveGateway} node=${node} done=${close} />`}>
      <${NodeDetail} node=${node} feed=${feed} hash=${hash} go=${go} />
    <//>`;
}

function choose(nodes, text, only) {
  const words = text.toLowerCase().split(/\s+/);
  const names = (node) => `${nameOf(node)} ${node.label ?? ''}`.toLowerCase();
  const fits = (node) => words.every((word) => names(node).includes(word));
  return nodes.filter((node) => (!only || node.state === only) && fits(node)).sort(compareNodes);
}

function Summary({ nodes, about, only, setOnly }) {
  const behind = nodes.reduce((sum, node) => sum + (node.behind ?? 0), 0);
  const catching = nodes.filter(isBehind).length;
  const unknown = nodes.filter((node) => node.behind === null && node.state === 'stale').length;
  return html`
    <div class="tiles">
      <section class="tile states" aria-label="Gateways by state">
        <h2>Gateways</h2>
        <div class="row counts">${STATES.map((state) => html`
          <${Count} key=${state.id} state=${state} isOnly=${only === state.id}
            number=${nodes.filter((node) => node.state === state.id).length}
            choose=${() => setOnly(only === state.id ? null : state.id)} />`)}</div>
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

/** How many gateways are in a state; pressed, the list holds only those. */
function Count({ state, number, isOnly, choose }) {
  const look = classes('count', number > 0 && state.tone, isOnly && 'down');
  return html`
    <button class=${look} aria-pressed=${isOnly ? 'true' : 'false'} title=${state.meaning}
      onClick=${choose}><strong>${count(number)}</strong> ${state.id}</button>`;
}

function State({ node }) {
  const state = STATES.find(({ id }) => id === node.state);
  return html`<span class=${classes('badge', state?.tone)} title=${state?.meaning}
    >${node.state}</span>`;
}

function Behind({ node }) {
  const text = typeof node.behind === 'number' ? count(node.behind) : '–';
  return isBehind(node) ? html`<strong>${text}</strong>` : html`<span class="muted">${text}</span>`;
}

function Remarks({ node }) {
  const off = clockWords(node.clock_ahead_ms);
  return html`
    ${off && html`<span class="flag warn" title="its clock, by the hub's">clock ${off}</span>`}
    ${node.state !== 'online' && node.end_reason && html`
      <span class="flag">${node.end_reason}</span>`}`;
}

const COLUMNS = [
  {
    name: 'Gateway',
    class: 'name',
    cell: ({ site, name, label }) => html`
      <span class="muted">${site}/</span>${name}${label && html` <span class="label">${label}</span>`}`,
  },
  { name: 'State', class: 'state', cell: (node) => html`<${State} node=${node} />` },
  {
    name: 'Since',
    class: 'since',
    cell: ({ since }) => (since ? html`<time title=${stamp(since)}>${moment(since)}</time>` : '–'),
  },
  { name: 'Behind', class: 'number', cell: (node) => html`<${Behind} node=${node} />` },
  {
    name: 'Last reading',
    class: 'age',
    cell: (node) => html`<${Age} time=${node.last_received} />`,
  },
  { name: 'Remarks', class: 'remarks', cell: (node) => html`<${Remarks} node=${node} />` },
  { name: 'Version', class: 'version', cell: (node) => node.version ?? '–' },
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
