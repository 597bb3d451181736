// One gateway close up, on the hub: what it is doing in words, how much of a backlog is to come,
// its series with a chart of one of them, the gaps it declared, and its particulars.

import { html, useEffect, useMemo, useRef, useState } from './ui.js';
import { path } from './api.js';
import { devicesOf, keyOf, matches } from './catalog.js';
import { SeriesDetail } from './detail.js';
import { greatestBehind, isBehind, nameOf } from './fleet.js';
import { useAnswer } from './hooks.js';
import { Age, Meter, When } from './parts.js';
import { Table } from './table.js';
import { DAY, clock } from './time.js';
import { Twin } from './twin.js';
import { count, counted, unitText, valueText } from './units.js';

/** A backlog below this is the ordinary way of a live reading, not worth a bar. */
const BACKLOG_MIN = 20;
/** A certificate that ends sooner is said to. */
const CERTIFICATE_MS = 14 * DAY;

export function NodeDetail({ node, feed: { catalog, follow }, hash, go, mayChange }) {
  const name = nameOf(node);
  const isHere = node.state !== 'never';
  useEffect(() => {
    if (isHere) follow(name);
  }, [name, isHere, follow]);
  const [text, setText] = useState('');
  const devices = useMemo(() => devicesOf(seriesOf(catalog, name)), [catalog, name]);
  const all = devices.flatMap((device) => device.series);
  const isWanted = (series) => series.key === keyOf({ ...hash, node: series.node });
  const wanted = hash.device && all.find(isWanted);
  const opened = wanted || all[0];
  const chart = useRef(null);
  const open = ({ device, metric, unit }) => {
    go({ node: name, device, metric, unit: unit ?? '', range: hash.range });
    // The list of series is below the chart, which may be out of sight.
    chart.current.scrollIntoView();
  };
  const look = (device) => {
    go({ node: name, device, twin: 1 });
    chart.current?.scrollIntoView();
  };
  const groups = devices.map(({ id, series }) => ({
    key: id,
    head: html`<span class="device">${id}</span>
      <button class="quiet" aria-label=${`Twin of ${id}`} onClick=${() => look(id)}>Twin</button>`,
    rows: series.filter((one) => matches(one, text)),
  }));
  return html`
    <${Words} node=${node} />
    <${Backlog} node=${node} />
    ${isHere && html`<p><a href=${path('runs.html', { node: name })}>Runs of its workflows</a></p>`}
    ${opened ? html`
      ${hash.twin && hash.device ? html`
        <h3 ref=${chart}>${hash.device} <span class="muted">twin</span></h3>
        <${Twin} key=${hash.device} device=${hash.device} mayChange=${mayChange} />` : html`
      <h3 ref=${chart}>${opened.device} <span class="muted">${opened.metric}</span></h3>
      <${SeriesDetail} series=${opened} node=${name} range=${hash.range} filling=${isBehind(node)}
        setRange=${(range) => go({ ...hash, range })} />`}
      <div class="row toolbar"><h3>${counted(all.length, 'series', 'series')}</h3>
        <input type="search" placeholder="Filter by device or metric" value=${text}
          aria-label="Filter by device or metric"
          onInput=${(event) => setText(event.currentTarget.value)} /></div>
      <${Table} label=${`Series of ${name}`} columns=${COLUMNS} groups=${groups}
        keyOf=${(series) => series.key} open=${open} opened=${opened.key} />`
      : html`<p class="empty">${isHere && !catalog ? 'Loading…'
        : 'No reading of it is here yet. Post one to the gateway; it comes by itself.'}</p>`}
    <${More} node=${node} />`;
}

/** The series of a gateway; the catalogue may still be that of the one looked at before. */
function seriesOf(catalog, name) {
  return new Map([...catalog ?? []].filter(([, series]) => series.node === name));
}

function Words({ node }) {
  const since = html`<${Age} time=${node.since} />`;
  if (node.state === 'never') {
    return html`<p>It has never connected. Run <code>holdfast-edge join</code> with its invitation
      on its machine; if that has been lost, remove the gateway and add it again.</p>`;
  }
  if (node.state === 'online') {
    return html`<p>Connected since <${When} time=${node.since} whole /> (${since}); the last reading
      came <${Age} time=${node.last_received} />.</p>`;
  }
  return html`<p class="alarm-text">Not heard since <${When} time=${node.since} whole /> (${since})${node.end_reason
    && `: ${node.end_reason}`}.</p>
    <p class="muted">The site goes on by itself and sends what it measured when its link is
      back.</p>`;
}

/** How much is still to come, measured by the most that was. */
function Backlog({ node }) {
  const greatest = useRef(0);
  const [ended, setEnded] = useState(false);
  const before = greatest.current;
  greatest.current = greatestBehind(before, node.behind);
  useEffect(() => {
    if (before >= BACKLOG_MIN && node.behind === 0) setEnded(true);
    if (node.behind >= BACKLOG_MIN) setEnded(false);
  }, [node.behind]);
  if (!isBehind(node)) {
    return ended && html`<p class="good-text" role="status">Backlog complete: the hub has
      everything.</p>`;
  }
  const most = greatest.current;
  const part = most > 0 ? 1 - node.behind / most : 0;
  const word = node.state === 'online' ? 'to go' : 'to come';
  return html`
    <div class="backlog">
      <p>Backlog: <strong>${counted(node.behind, 'entry', 'entries')}</strong> ${word}</p>
      ${most >= BACKLOG_MIN && html`<${Meter} value=${part} label="backlog received" />`}
    </div>`;
}

const COLUMNS = [
  { name: 'Metric', class: 'name', cell: (series) => series.metric },
  { name: 'Value', class: 'number', cell: (series) => valueText(series.last.value) },
  { name: 'Unit', class: 'unit', cell: (series) => unitText(series.unit) },
  { name: 'Age', class: 'age', cell: (series) => html`<${Age} time=${series.last.time} />` },
];

function More({ node }) {
  const url = `/v1/nodes/${encodeURIComponent(node.site)}/${encodeURIComponent(node.name)}`;
  const { answer, problem } = useAnswer(url, [node.state, isBehind(node)]);
  const gaps = answer?.gaps ?? [];
  return html`
    ${problem && html`<p class="alarm-text" role="alert">${problem.words}</p>`}
    ${gaps.length > 0 && html`
      <h3>Declared gaps</h3>
      <p class="muted">Removed or lost at the gateway before the hub had it; it will not come.</p>
      <table aria-label="Declared gaps">
        <thead><tr><th scope="col">Stream</th><th scope="col">From</th><th scope="col">To</th>
          <th scope="col" class="number">Entries</th><th scope="col">Reason</th></tr></thead>
        <tbody>${gaps.map((gap) => html`
          <tr><td>${gap.stream}</td><td>${bound(gap.from)}</td><td>${bound(gap.to)}</td>
            <td class="number">${count(gap.entries)}</td><td>${gap.reason}</td></tr>`)}</tbody>
      </table>`}
    <details>
      <summary>Particulars</summary>
      <dl>
        <dt>Identity</dt><dd><code>${node.id ?? '–'}</code></dd>
        <dt>Version</dt><dd>${node.version ?? '–'}</dd>
        <dt>Last heard</dt><dd><${Age} time=${node.heard} /></dd>
        <dt>Readings here</dt><dd>${count(node.readings ?? 0)}</dd>
        <dt>Series</dt><dd>${count(answer?.series ?? 0)}</dd>
        <dt>Certificate ends</dt><dd><${Certificate} end=${node.not_after} /></dd>
      </dl>
    </details>`;
}

/** A gap's bound: a time, or the number of an entry. */
function bound(value) {
  return typeof value === 'number' ? count(value) : html`<${When} time=${value} whole />`;
}

function Certificate({ end }) {
  if (!end) return '–';
  const soon = Date.parse(end) - clock.now() < CERTIFICATE_MS;
  return html`
    <span class=${soon ? 'alarm-text' : ''}><${Age} time=${end} /></span> (<${When} time=${end} whole />)`;
}
