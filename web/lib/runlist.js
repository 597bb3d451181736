// Runs, the newest first, by workflow, state and a text that they know, a page at a time.

import { classes, html } from './ui.js';
import { Age, When, Words } from './parts.js';
import { Table } from './table.js';
import { STATES, badgesOf, shortRun, waitWords } from './runs.js';

/** Runs of a page. */
export const PAGE = 50;

export function RunList({ list, flows, query, ask, open, opened }) {
  const { answer, problem } = list;
  const runs = answer?.runs ?? [];
  const names = [...new Set([...(flows ?? []).map(({ id }) => id), query.workflow])];
  const filter = (part) => ask({ ...part, before: null });
  const isFiltered = ['workflow', 'state', 'q', 'before'].some((name) => query[name]);
  return html`
    <section class="list runs" aria-label="Runs">
      <div class="row toolbar">
        <h2>Runs</h2>
        <${Choice} name="workflow" label="Workflow" all="all workflows" value=${query.workflow}
          of=${names.filter(Boolean).sort()} choose=${(workflow) => filter({ workflow })} />
        <${Choice} name="state" label="State" all="all states" value=${query.state} of=${STATES}
          choose=${(state) => filter({ state })} />
        <input type="search" placeholder="Device, who began it, error…" value=${query.q ?? ''}
          aria-label="Filter by a text that a run knows"
          onInput=${(event) => filter({ q: event.currentTarget.value })} />
      </div>
      ${problem && html`<p class="banner alarm" role="alert">${problem.words}</p>`}
      ${!answer && !problem && html`<p class="waiting">Loading…</p>`}
      ${runs.length > 0 && html`<${Table} label="Runs" columns=${COLUMNS} first=${PAGE}
        groups=${[{ key: 'all', rows: runs }]} keyOf=${({ id }) => id} open=${open}
        opened=${opened} />`}
      ${answer && runs.length === 0 && html`<p class="empty">${
        isFiltered ? 'No run is like that.' : 'Nothing has run yet.'}${isFiltered && html`
        ${' '}<button class="quiet" onClick=${() => filter({ workflow: null, state: null, q: null })}>
          Show all</button>`}</p>`}
      ${(query.before || answer?.more) && html`<p class="more row">
        ${query.before && html`<button onClick=${() => ask({ before: null })}>Newest</button>`}
        ${answer?.more && html`<button onClick=${() => ask({ before: runs.at(-1).id })}>
          Older</button>`}</p>`}
    </section>`;
}

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
function Waits({ run: { waits, error } }) {
  if (waits.length === 0) return error;
  const [first] = waits;
  const { what, ends } = waitWords(first);
  return html`<${Words} text=${what} />${first.until && html` ${ends} <${When} time=${first.until} />`}${
    waits.length > 1 && html` <span class="muted">and ${waits.length - 1} more</span>`}`;
}

const COLUMNS = [
  {
    name: 'Workflow', class: 'name',
    cell: ({ id, workflow, version }) => html`${workflow} <small>${version},
      ${' '}${shortRun(id)}</small>`,
  },
  { name: 'State', class: 'state', cell: (run) => html`<${Badges} run=${run} />` },
  { name: 'Waits', class: 'remarks', cell: (run) => html`<${Waits} run=${run} />` },
  { name: 'Began', class: 'age', told: true, cell: ({ began }) => html`<${Age} time=${began} />` },
  { name: 'By', class: 'by', told: true, cell: ({ by }) => by },
];
