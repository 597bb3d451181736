// The page of a gateway. Active alerts come first. Then it answers what somebody who looks wants to
// know: is the cloud reached, how much has it not got yet, how long will the disk do, is anything
// damaged. Below are the devices with their live readings, silent ones first; a series opens with its chart. The
// address after `#` holds what is open, so the back button and a bookmark work.

import { classes, html, render, useMemo } from './lib/ui.js';
import { Alerts } from './lib/alerts.js';
import { devicesOf, keyOf, matches, silence } from './lib/catalog.js';
import { OpenConflicts } from './lib/conflicts.js';
import { SeriesDetail } from './lib/detail.js';
import { useAnswer, useFeed, useHash, useNow, useQuery } from './lib/hooks.js';
import {
  Age, Copy, Disk, Findings, Flags, Head, Pipeline, Tabs, Tile, Waiting, When, clockWords, titleOf,
} from './lib/parts.js';
import { Pane } from './lib/pane.js';
import { Gate } from './lib/session.js';
import { Table } from './lib/table.js';
import { Twin } from './lib/twin.js';
import { ago, utc } from './lib/time.js';
import { count, counted, shortId, unitText, valueText } from './lib/units.js';

function Edge({ session, signOut }) {
  const feed = useFeed('/v1/status', { ofFleet: false });
  const { status, catalog } = feed;
  const name = status ? titleOf(status.node) : '…';
  const labels = useLabels(status);
  return html`
    <${Head} title=${name} kind="gateway" feed=${feed} session=${session} signOut=${signOut} />
    <${Tabs} kind="gateway" here="site" />
    <main>
      <${Alerts} feed=${feed} mayChange=${session.scope === 'admin'} ofFleet=${false} />
      <${OpenConflicts} mayChange=${session.scope === 'admin'} />
      ${status && html`<${State} status=${status} />`}
      ${catalog && html`<${Readings} catalog=${catalog} labels=${labels}
        mayChange=${session.scope === 'admin'} />`}
      ${!catalog && html`<${Waiting} feed=${feed} />`}
    </main>`;
}

/** What people call devices, by id; asked for again when somebody changed one. */
function useLabels(status) {
  const { answer } = useAnswer(status && '/v1/devices', [status?.labels]);
  return useMemo(() => {
    const labelled = (answer?.devices ?? []).filter(({ label }) => label);
    return new Map(labelled.map(({ id, label }) => [id, label]));
  }, [answer]);
}

function State({ status }) {
  const off = clockWords(status.uplink.clock_ahead_ms);
  return html`
    <${Findings} findings=${status.findings} command="holdfast-edge verify" />
    ${off && html`<p class="banner warn" role="alert">The clock of this gateway is ${off} of the
      hub's. Readings keep the time they came with; set the clock of the machine right.</p>`}
    <div class="tiles">
      <${Uplink} uplink=${status.uplink} />
      ${status.uplink.state !== 'not-joined' && html`<${Behind} uplink=${status.uplink} />`}
      <${Disk} store=${status.store} />
      <${Pipeline} pipeline=${status.pipeline} />
    </div>`;
}

const JOIN = 'holdfast-edge join STRING';

function Uplink({ uplink }) {
  const { state, since, hub, attempts } = uplink;
  const when = html`<${When} time=${since} />`;
  if (state === 'not-joined') {
    return html`
      <${Tile} name="Uplink" tone="warn" answer="Not joined to a hub">
        <p>Readings are kept here. On the hub choose <em>Add gateway</em> and run what it gives:</p>
        <${Copy} text=${JOIN} label="command that joins a hub" />
      <//>`;
  }
  if (state === 'online') {
    return html`
      <${Tile} name="Uplink" tone="good" answer="Connected">
        <p>since ${when} (<${Age} time=${since} />)</p>
        <p class="muted">${hub && html`Hub <code title=${hub}>${shortId(hub)}</code>`}</p>
      <//>`;
  }
  return html`
    <${Tile} name="Uplink" tone="alarm" answer="Offline">
      <p>since ${when} (<${Age} time=${since} />)${uplink.last_error && ': '}
        <span class="alarm-text">${uplink.last_error}</span></p>
      <p class="muted">${counted(attempts ?? 0, 'try', 'tries')} so far, the next
        ${' '}${uplink.next_attempt ? html`<${Age} time=${uplink.next_attempt} />` : 'under way'}.
        The site works without it; what is measured is sent later.</p>
      <p class="muted">${hub && html`Hub <code title=${hub}>${shortId(hub)}</code>`}</p>
    <//>`;
}

function Behind({ uplink: { behind: entries, lacks, heard, state } }) {
  const last = html`<p class="muted">Hub last heard: <${Age} time=${heard} /></p>`;
  const behind = entries ?? lacks?.readings;
  if (behind === undefined) {
    return html`<${Tile} name="The hub lacks" answer="Not known yet">${last}<//>`;
  }
  const tone = behind === 0 ? 'good' : state === 'online' ? undefined : 'warn';
  const one = typeof entries === 'number' ? ['entry', 'entries'] : ['reading', 'readings'];
  const answer = behind === 0 ? 'Nothing' : counted(behind, ...one);
  return html`
    <${Tile} name="The hub lacks" tone=${tone} answer=${answer}>
      ${behind > 0 && html`<p>${state === 'online'
        ? 'Being sent now.' : 'Sent when the link is back.'}</p>`}
      ${behind > 0 && lacks?.since && html`<p>It has everything up to
        ${' '}<${When} time=${lacks.since} />.</p>`}
      ${last}
    <//>`;
}

function Readings({ catalog, labels, mayChange }) {
  const [hash, go] = useHash();
  const [query, ask] = useQuery();
  const text = query.q ?? '';
  const now = useNow(5_000);
  const devices = useMemo(() => devicesOf(catalog), [catalog]);
  if (devices.length === 0) return html`<${Empty} />`;
  const twin = hash.twin && hash.device;
  const opened = hash.device && !twin ? catalog.get(keyOf({ ...hash, node: undefined })) : undefined;
  const groups = devices.map((device) => {
    const label = labels.get(device.id);
    const rows = device.series.filter((series) => matches(series, text, label));
    const state = silence(device, now);
    const look = () => go({ device: device.id, twin: 1 });
    const head = html`<${DeviceHead} device=${device} label=${label} state=${state}
      look=${look} />`;
    return { key: device.id, head, rows, state };
  });
  const silent = groups.filter((group) => group.state.silent);
  const onlySilent = query.state === 'silent';
  const shown = onlySilent ? silent : [...silent, ...groups.filter((one) => !one.state.silent)];
  const found = shown.some((group) => group.rows.length > 0);
  const open = ({ device, metric, unit }) => (
    go({ device, metric, unit: unit ?? '', range: hash.range })
  );
  return html`
    <div class=${classes('split', (opened || twin) && 'open')}>
      <section class="list" aria-label="Live readings">
        <div class="row toolbar">
          <h2>${counted(devices.length, 'device')}, ${count(catalog.size)} series</h2>
          ${(silent.length > 0 || onlySilent) && html`
            <button class=${classes('filter warn', onlySilent && 'down')}
              aria-pressed=${onlySilent ? 'true' : 'false'}
              onClick=${() => ask({ state: onlySilent ? null : 'silent' })}
              >${silent.length} silent</button>`}
          <input type="search" placeholder="Filter by device or metric" value=${text}
            aria-label="Filter by device or metric"
            onInput=${(event) => ask({ q: event.currentTarget.value })} />
        </div>
        ${found ? html`<${Table} label="Live readings" columns=${COLUMNS} groups=${shown}
            keyOf=${(series) => series.key} open=${open} opened=${opened?.key} />`
          : html`<p class="empty">${text ? `Nothing is called “${text}”.` : 'No device is silent.'}
            ${' '}<button class="quiet" onClick=${() => ask({ q: null, state: null })}>
              Show all</button></p>`}
      </section>
      ${twin && html`
        <${Pane} key=${twin} title=${twin} subtitle=${labels.get(twin) ?? 'Twin'}
          close=${() => go({})}>
          <${Twin} device=${twin} mayChange=${mayChange} />
        <//>`}
      ${opened && html`
        <${Pane} title=${opened.metric} subtitle=${called(opened.device, labels)}
          close=${() => go({ range: hash.range })}>
          <${SeriesDetail} series=${opened} range=${hash.range}
            setRange=${(range) => go({ ...hash, range })} />
        <//>`}
    </div>`;
}

const called = (id, labels) => (labels.has(id) ? `${id}, ${labels.get(id)}` : id);

function DeviceHead({ device, label, state, look }) {
  return html`
    <span class="device">${device.id}</span>${label && html` <span class="label">${label}</span>`}
    <button class="quiet" aria-label=${`Twin of ${device.id}`} onClick=${look}>Twin</button>
    ${state.silent && html`<span class="badge warn" title=${utc(state.heard)}>
      silent, last heard ${ago(new Date(state.heard).toISOString())}</span>`}`;
}

/** The value is drawn anew for each reading that arrives, which starts its flash. */
function Value({ series }) {
  const { value, received } = series.last;
  return html`<span key=${received} class=${classes('value', series.live && 'flash')}
    >${valueText(value)}</span>`;
}

const COLUMNS = [
  { name: 'Metric', class: 'name', cell: (series) => series.metric },
  { name: 'Value', class: 'number', cell: (series) => html`<${Value} series=${series} />` },
  { name: 'Unit', class: 'unit', cell: (series) => unitText(series.unit) },
  { name: 'Age', class: 'age', cell: (series) => html`<${Age} time=${series.last.time} />` },
  {
    name: 'Quality',
    class: 'quality',
    cell: (series) => html`<${Flags} quality=${series.last.quality} />`,
  },
];

function Empty() {
  const first = `curl -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" \\
  -d '{"device":"tank-1","metric":"level","unit":"m","value":2.5}' \\
  ${location.origin}/v1/readings`;
  return html`
    <section class="empty card">
      <h2>No reading yet</h2>
      <p>Make a token for your devices on this gateway, then post the first reading:</p>
      <${Copy} text="TOKEN=$(holdfast-edge token new --ingest --name devices | tail -n 1)"
        label="command that makes a token" />
      <${Copy} text=${first} label="command that posts a reading" />
      <p class="muted">It shows here at once; this page need not be loaded again.</p>
    </section>`;
}

render(html`<${Gate} kind="gateway" page=${Edge}
  command="holdfast-edge token new --viewer --name NAME" />`, document.getElementById('app'));
