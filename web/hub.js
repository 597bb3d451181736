// The page of the hub. Trouble comes first: gateways that fell silent, then those that never came,
// then the ones at work. A gateway opens with its state in words, the backlog it still has to send,
// and a live chart in which the gap of an outage is seen filling up.

import { classes, html, render, useMemo, useState } from './lib/ui.js';
import { AddGateway, RemoveGateway } from './lib/enrol.js';
import { NodeDetail } from './lib/node.js';
import { useAnswer, useFeed, useHash } from './lib/hooks.js';
import { compareNodes, isBehind, nameOf, STATES } from './lib/fleet.js';
import { Age, Disk, Findings, Head, Pipeline, Tile, clockWords } from './lib/parts.js';
import { Pane } from './lib/pane.js';
import { Gate } from './lib/session.js';
import { Table } from './lib/table.js';
import { moment, stamp } from './lib/time.js';
import { count, counted } from './lib/units.js';

function Hub({ session, signOut }) {
  const feed = useFeed('/v1/nodes');
  const about = useAnswer('/v1/status', [Math.floor(Date.now() / ABOUT_MS)]).answer;
  const nodes = feed.status?.nodes;
  const fleet = about?.node?.fleet;
  return html`
    <${Head} title=${typeof fleet === 'string' ? `Fleet ${fleet.slice(0, 12)}` : 'Fleet'} kind="hub"
      feed=${feed} session=${session} signOut=${signOut} />
    <main>
      ${nodes ? html`<${Fleet} nodes=${nodes} catalog=${feed.catalog} about=${about} />`
        : html`<p class="waiting">Loading…</p>`}
    </main>`;
}

/** The hub's own state changes slowly. */
const ABOUT_MS = 15_000;

function Fleet({ nodes, catalog, about }) {
  const [hash, go] = useHash();
  const [text, setText] = useState('');
  const [only, setOnly] = useState(null);
  const [adding, setAdding] = useState(false);
  const shown = useMemo(() => choose(nodes, text, only), [nodes, text, only]);
  const opened = nodes.find((node) => nameOf(node) === hash.node);
  const close = () => go({});
  return html`
    ${about && html`<${Findings} findings=${about.findings} command="holdfast-hub verify" />`}
    <${Summary} nodes=${nodes} about=${about} only=${only} setOnly=${setOnly} />
    <div class=${classes('split', (opened || adding) && 'open')}>
      <section class="list" aria-label="Gateways">
        <div class="row bar">
          <h2>${counted(nodes.length, 'gateway')}</h2>
          <input type="search" placeholder="Filter by site or name" value=${text}
            aria-label="Filter by site or name"
            onInput=${(event) => setText(event.currentTarget.value)} />
          <button class="primary" onClick=${() => { close(); setAdding(true); }}>Add gateway</button>
        </div>
        ${nodes.length === 0 ? html`<${Empty} add=${() => setAdding(true)} />`
          : shown.length === 0 ? html`<p class="empty">No gateway fits. <button class="quiet"
              onClick=${() => { setText(''); setOnly(null); }}>Show all</button></p>`
            : html`<${Table} label="Gateways" columns=${COLUMNS} groups=${[{ key: 'all', rows: shown }]}
              keyOf=${nameOf} opened=${opened && nameOf(opened)}
              open=${(node) => { setAdding(false); go({ node: nameOf(node), range: hash.range }); }} />`}
      </section>
      ${adding && html`<${Pane} title="Add gateway" close=${() => setAdding(false)}>
        <${AddGateway} /><//>`}
      ${opened && !adding && html`<${Opened} key=${nameOf(opened)} node=${opened} catalog=${catalog}
        hash=${hash} go=${go} />`}
    </div>`;
}

function Opened({ node, catalog, hash, go }) {
  const close = () => go({ range: hash.range });
  return html`
    <${Pane} title=${nameOf(node)} badge=${html`<${State} node=${node} />`} close=${close}
      actions=${html`<${RemoveGateway} node=${node} done=${close} />`}>
      <${NodeDetail} node=${node} catalog=${catalog} hash=${hash} go=${go} />
    <//>`;
}

function choose(nodes, text, only) {
  const words = text.toLowerCase().split(/\s+/);
  const fits = (node) => words.every((word) => nameOf(node).toLowerCase().includes(word));
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
        <div class="row counts">${STATES.map((state) => {
          const number = nodes.filter((node) => node.state === state.id).length;
          return html`
            <button key=${state.id} class=${classes('count', number > 0 && state.tone, only === state.id && 'down')}
              aria-pressed=${only === state.id ? 'true' : 'false'} title=${state.meaning}
              onClick=${() => setOnly(only === state.id ? null : state.id)}>
              <strong>${count(number)}</strong> ${state.id}</button>`;
        })}</div>
      </section>
      <${Tile} name="Still at the gateways" tone=${behind > 0 ? undefined : 'good'}
        answer=${behind > 0 ? counted(behind, 'entry', 'entries') : 'Nothing known'}>
        <p class="muted">${catching > 0 ? `${counted(catching, 'gateway')} behind.` : 'The hub has all it knows of.'}
          ${unknown > 0 && ` Unknown for ${counted(unknown, 'silent gateway')}.`}</p>
      <//>
      ${about && html`<${Disk} store=${about.store} /><${Pipeline} pipeline=${about.pipeline} />`}
    </div>`;
}

function State({ node }) {
  const state = STATES.find(({ id }) => id === node.state);
  return html`<span class=${classes('badge', state?.tone)} title=${state?.meaning}>${node.state}</span>`;
}

function Behind({ node }) {
  if (node.behind === null || node.behind === undefined) return html`<span class="muted">–</span>`;
  return node.behind === 0 ? html`<span class="muted">0</span>` : html`<strong>${count(node.behind)}</strong>`;
}

function Remarks({ node }) {
  const off = clockWords(node.clock_ahead_ms);
  return html`${off && html`<span class="flag warn" title="its clock, by the hub's">clock ${off}</span>`}
    ${node.state !== 'online' && node.end_reason && html`<span class="flag">${node.end_reason}</span>`}`;
}

const COLUMNS = [
  { name: 'Gateway', class: 'name', cell: (node) => html`<span class="muted">${node.site}/</span>${node.name}` },
  { name: 'State', class: 'state', cell: (node) => html`<${State} node=${node} />` },
  {
    name: 'Since',
    class: 'since',
    cell: ({ since }) => (since ? html`<time title=${stamp(since)}>${moment(since)}</time>` : '–'),
  },
  { name: 'Behind', class: 'number', cell: (node) => html`<${Behind} node=${node} />` },
  { name: 'Last reading', class: 'age', cell: (node) => html`<${Age} time=${node.last_received} />` },
  { name: 'Remarks', class: 'remarks', cell: (node) => html`<${Remarks} node=${node} />` },
  { name: 'Version', class: 'version', cell: (node) => node.version ?? '–' },
];

function Empty({ add }) {
  return html`
    <section class="empty card">
      <h2>No gateway yet</h2>
      <p>A gateway joins with one string: give it a site and a name here, and run the command you get
        on its machine.</p>
      <p><button class="primary" onClick=${add}>Add the first gateway</button></p>
    </section>`;
}

render(html`<${Gate} kind="hub" page=${Hub}
  command="holdfast-hub token new --viewer --name NAME" />`, document.getElementById('app'));
