// Runs, the newest first, by workflow, state and a text that they know, a page at a time. Those of a
// fleet have a gateway, too.

import { classes, html } from './ui.js';
import { path } from './api.js';
import { Age, When, Words } from './parts.js';
import { Table } from './table.js';
import { STATES, badgesOf, failureOf, shortRun, waitWords } from './runs.js';

export const RUNS_MS = 4_000;
/** Runs of a page. */
const PAGE = 50;
const NO_FILTER = { node: null, workflow: null, state: null, q: null };

/** Where the runs are that the address asks for. */
export function runsUrl({ node, workflow, state, q, before }) {
  return path('/v1/runs', { node, workflow, state, text: q, before, limit: PAGE });
}

/** `names`: of workflows to choose from; `nodes`: of gateways, where a hub tells of their runs. */
export function RunList({ list, names, nodes, query, ask, open, opened }) {
  const { answer, problem } = list;
  const runs = answer?.runs ?? [];
  const filter = (part) => ask({ ...part, before: null });
  const isFiltered = [...Object.keys(NO_FILTER), 'before'].some((name) => query[name]);
  return html`
    <section class="list runs" aria-label="Runs">
      <div class="row toolbar">
        <h2>Runs</h2>
        ${nodes && html`<${Choice} name="node" label="Gateway" all="all gateways"
          value=${query.node} of=${inOrder(nodes, query.node)}
          choose=${(node) => filter({ node })} />`}
        <${Choice} name="workflow" label="Workflow" all="all workflows" value=${query.workflow}
          of=${inOrder(names, query.workflow)} choose=${(workflow) => filter({ workflow })} />
        <${Choice} name="state" label="State" all="all states" value=${query.state}
          of=${STATES} choose=${(state) => filter({ state })} />
        <input type="search" value=${query.q ?? ''}
          placeholder=${`${nodes ? 'Workflow' : 'Device'}, who began it, error…`}
          aria-label="Filter by a text that a run knows"
          onInput=${(event) => filter({ q: event.currentTarget.value })} />
      </div>
      ${problem && html`<p class="banner alarm" role="alert">${problem.words}</p>`}
      ${!answer && !problem && html`<p class="waiting">Loading…</p>`}
      ${runs.length > 0 && html`<${Table} label="Runs" columns=${nodes ? OF_FLEET : COLUMNS} first=${PAGE}
        groups=${[{ key: 'all', rows: runs }]} keyOf=${({ id }) => id} open=${open}
        opened=${opened} />`}
      ${answer && runs.length === 0 && html`<p class="empty">${
        isFiltered ? 'No run is like that.' : 'Nothing has run yet.'}${isFiltered && html`
        ${' '}<button class="quiet" onClick=${() => filter(NO_FILTER)}>
          Show all</button>`}</p>`}
      ${(query.before || answer?.more) && html`<p class="more row">
        ${query.before && html`<button onClick=${() => ask({ before: null })}>Newest</button>`}
        ${answer?.more && html`<button onClick=${() => ask({ before: runs.at(-1).id })}>
          Older</button>`}</p>`}
    </section>`;
}

/** Names to choose from, with the one that is chosen even if it is no longer among them. */
const inOrder = (names, chosen) => [...new Set([...names, chosen])].filter(Boolean).sort();

function Choice({ name, label, all, value, of, choose }) {
  return html`
    <select name=${name} aria-label=${label} value=${value ?? ''}
      onChange=${(event) => choose(event.currentTarget.value || null)}>
      <option value="">${all}</option>
      ${of.map((one) => html`<option key=${one} value=${one}>${one}</option>`)}
    </select>`;
}

export function Badges({ run }) {
  return badgesOf(run).map(({ text, tone }) => html`
    <span key=${text} class=${classes('badge', tone)}>${text}</span> `);
}

/** What it waits for first, or how it ended. */
function Waits({ run }) {
  const { waits } = run;
  if (waits.length === 0) return failureOf(run);
  const [first] = waits;
  const { what, ends } = waitWords(first);
  return html`<${Words} text=${what} />${first.until && html` ${ends} <${When} time=${first.until} />`}${
    waits.length > 1 && html` <span class="muted">and ${waits.length - 1} more</span>`}`;
}

const COLUMNS = [
  {
    name: 'Workflow', class: 'name',
    cell: ({ id, workflow, version, device }) => html`${workflow} <small>${version},
      ${' '}${shortRun(id)}${device && `, on ${device}`}</small>`,
  },
  { name: 'State', class: 'state', cell: (run) => html`<${Badges} run=${run} />` },
  { name: 'Waits', class: 'remarks', cell: (run) => html`<${Waits} run=${run} />` },
  { name: 'Began', class: 'age', told: true, cell: ({ began }) => html`<${Age} time=${began} />` },
  { name: 'By', class: 'by', told: true, cell: ({ by }) => by },
];

const OF_FLEET = [
  ...COLUMNS.slice(0, 2),
  { name: 'Gateway', class: 'gateway', told: true, cell: ({ node }) => node },
  { ...COLUMNS[2], name: 'Why' },
  ...COLUMNS.slice(3),
];
