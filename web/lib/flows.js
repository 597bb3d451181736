// The workflows that are installed, each with how many of its runs are under way, wait for room or
// are parked. One opens with what it does and where its runs stand.

import { classes, html } from './ui.js';
import { Table } from './table.js';
import { count, counted } from './units.js';
import { countsOf } from './runs.js';

export function Flows({ list, counts, opened, open, add, mayChange }) {
  const { answer, problem } = list;
  if (!answer) {
    return problem ? html`<p class="banner alarm" role="alert">${problem.words}</p>`
      : html`<p class="waiting">Loading…</p>`;
  }
  const rows = answer.workflows.map((flow) => ({ ...flow, counts: countsOf(counts, flow) }));
  return html`
    <section class="list flows" aria-label="Workflows">
      <div class="row toolbar">
        <h2>${counted(rows.length, 'workflow')}</h2>
        ${mayChange && html`<button onClick=${add}>Add…</button>`}
      </div>
      ${rows.length > 0 ? html`<${Table} label="Workflows" columns=${COLUMNS}
          groups=${[{ key: 'all', rows }]} keyOf=${keyOf} open=${open} opened=${opened} />`
        : html`<p class="empty">No workflow is installed.${mayChange
          && ' Add one: it is checked first, and nothing begins by itself.'}</p>`}
    </section>`;
}

export const keyOf = ({ id, version }) => `${id} ${version}`;

const number = (name) => ({ counts }) => (counts[name] > 0 ? count(counts[name]) : null);

const COLUMNS = [
  {
    name: 'Workflow', class: 'name',
    cell: ({ id, title }) => html`${id}${title && html`<br /><small>${title}</small>`}`,
  },
  {
    name: 'State', class: 'state',
    cell: ({ enabled }) => html`<span class=${classes('badge', enabled && 'good')}
      >${enabled ? 'enabled' : 'disabled'}</span>`,
  },
  { name: 'Version', class: 'version', told: true, cell: ({ version }) => version },
  { name: 'Under way', class: 'number', told: true, cell: number('under_way') },
  { name: 'Waiting', class: 'number', told: true, cell: number('waiting') },
  {
    name: 'Parked', class: 'number', told: true,
    cell: ({ counts: { parked } }) => (
      parked > 0 && html`<strong class="alarm-text">${count(parked)}</strong>`
    ),
  },
];
