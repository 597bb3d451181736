// One workflow: what it does as an indented outline with how many runs stand at each step right
// now, what holds for all of it, and what may be done with it.

import { classes, html } from './ui.js';
import { patch, post, remove } from './api.js';
import { Confirm } from './confirm.js';
import { Ask } from './fields.js';
import { usePolled } from './hooks.js';
import { Outline } from './outline.js';
import { Pane } from './pane.js';
import { When } from './parts.js';
import { countsOf } from './runs.js';
import { counted } from './units.js';

const ASK_MS = 4_000;

export const flowUrl = ({ id, version }) => (
  `/v1/workflows/${encodeURIComponent(id)}/${encodeURIComponent(version)}`
);

export function Flow({ flow, counts, close, open, showRuns, mayChange, changed }) {
  const { id, version, title, enabled, added, by } = flow;
  const url = `${flowUrl(flow)}/outline`;
  const { answer: outline, problem } = usePolled(url, ASK_MS);
  const badge = html`<span class=${classes('badge', enabled && 'good')}
    >${enabled ? 'enabled' : 'disabled'}</span>`;
  return html`
    <${Pane} title=${id} subtitle=${`version ${version}${title && `, ${title}`}`} badge=${badge}
      close=${close}>
      <p class="muted">Installed <${When} time=${added} whole /> by ${by}.</p>
      <div class="row actions">
        <button type="button" onClick=${showRuns}>Its runs</button>
        ${mayChange && outline && html`<${Changes} flow=${flow} outline=${outline} open=${open}
          close=${close} changed=${changed} />`}
      </div>
      ${problem && html`<p class="alarm-text" role="alert">${problem.words}</p>`}
      <h3>What it does</h3>
      <p class="muted" role="status">${runsWords(outline?.runs ?? 0, countsOf(counts, flow))}</p>
      ${outline ? html`<${Outline} outline=${outline} />` : html`<p class="muted">Loading…</p>`}
      ${outline && html`
        <details><summary>What holds for all of it</summary>
          <dl>${outline.head.map(({ name, text }, n) => html`
            <dt key=${`${n} ${name}`}>${name}</dt><dd>${text}</dd>`)}</dl>
        </details>`}
    <//>`;
}

function runsWords(underWay, { waiting }) {
  const begun = underWay === 0 ? 'No run is under way' : `${counted(underWay, 'run')} under way, `
    + 'counted where they stand; one with branches at each of them';
  return `${begun}${waiting > 0 ? `. ${counted(waiting, 'run')} more for which there is no room yet`
    : ''}.`;
}

function Changes({ flow, outline, open, close, changed }) {
  const { id, version, enabled, placement } = flow;
  const begin = (input) => post(`/v1/workflows/${encodeURIComponent(id)}/runs`, { version, input });
  const begun = ({ run }) => {
    changed();
    open({ id: run });
  };
  const turn = async () => {
    await patch(flowUrl(flow), { enabled: !enabled });
  };
  const gone = () => {
    changed();
    close();
  };
  return html`
    ${enabled && placement !== 'device' && html`
      <${Ask} word="Start…" look="primary" title=${`Start ${id} version ${version}`} yes="Start"
        fields=${outline.input} send=${begin} done=${begun}>
        ${outline.input.length === 0 && 'It takes nothing.'}
      <//>`}
    <${Confirm} word=${enabled ? 'Disable…' : 'Enable…'} look="" grave=${enabled}
      title=${enabled ? `Let no new run of ${id} begin?` : `Let runs of ${id} begin again?`}
      yes=${enabled ? 'Disable' : 'Enable'} no="Leave it" act=${turn} done=${changed}>
      ${enabled ? 'Those that are under way go on.' : `Runs of version ${version} may begin.`}
    <//>
    <${Confirm} word="Remove…" look="danger" title=${`Remove ${id} version ${version}?`}
      yes="Remove it" no="Keep it" act=${() => remove(flowUrl(flow))} done=${gone}>
      It has to be installed again before a run of it can begin. While runs are under way or wait it
      is not removed.
    <//>`;
}
