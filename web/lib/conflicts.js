// What was written at once in two places. Those that wait for somebody stand at the top of the page
// with a button for each value; how others were settled is told in a sentence each, beside the twin
// that they are about.

import { html, useState } from './ui.js';
import { path, post } from './api.js';
import { useAnswer, useNow } from './hooks.js';
import { When } from './parts.js';
import { counted } from './units.js';

const ASK_MS = 5_000;
const OPEN_MAX = 100;

/** The conflicts of documents whose names begin with `prefix`, asked for now and then. */
function useConflicts(state, prefix, limit) {
  const now = useNow(ASK_MS);
  return useAnswer(path('/v1/conflicts', { state, prefix, limit }), [now]);
}

/** Conflicts that wait, if any do. */
export function OpenConflicts({ mayChange }) {
  const { answer, reload } = useConflicts('open', undefined, OPEN_MAX);
  const conflicts = answer?.conflicts ?? [];
  if (conflicts.length === 0) return null;
  return html`
    <section class="list alerts warn conflicts" aria-label="Conflicts">
      <div class="row toolbar"><h2 role="status">
        ${counted(conflicts.length, 'conflict')} to decide</h2></div>
      <ul>${conflicts.map((conflict) => html`
        <${OpenOne} key=${conflict.id} conflict=${conflict} mayChange=${mayChange}
          done=${reload} />`)}</ul>
    </section>`;
}

/** What was written at once in the twin of a device: what waits, and how the rest ended. */
export function DeviceConflicts({ device, mayChange }) {
  const { answer, problem, reload } = useConflicts('all', `device/${device}/`, 20);
  const conflicts = answer?.conflicts ?? [];
  if (problem) return html`<p class="alarm-text" role="alert">${problem.words}</p>`;
  if (conflicts.length === 0) return null;
  const open = conflicts.filter(({ state }) => state === 'open');
  const settled = conflicts.filter(({ state }) => state === 'settled');
  return html`
    <div class="alerts conflicts">
      <h3>Written at once in two places</h3>
      <ul>${open.map((conflict) => html`<${OpenOne} key=${conflict.id} conflict=${conflict}
          mayChange=${mayChange} done=${reload} />`)}
        ${settled.map((conflict) => html`<${Settled} key=${conflict.id}
          conflict=${conflict} />`)}</ul>
    </div>`;
}

function OpenOne({ conflict, mayChange, done }) {
  const [problem, setProblem] = useState(null);
  const values = [conflict.shown, ...conflict.others].filter(Boolean);
  const choose = async (use) => {
    try {
      await post(`/v1/conflicts/${conflict.id}/resolve`, { use });
      setProblem(null);
    } catch (refused) {
      setProblem(refused);
    }
    done();
  };
  return html`
    <li class="active warn">
      <div class="what">
        <p><strong>${conflict.device ?? conflict.document}</strong>${' '}
          <code>${conflict.path}</code> was set at once in ${values.length} places.</p>
        <p class="muted">Which one stays? Until somebody chooses the first is shown.</p>
        ${values.map((written, at) => html`
          <p class="note row" key=${at}><span><${Written} written=${written} /></span>
            ${mayChange && html`<button onClick=${() => choose(at)}>Keep this</button>`}</p>`)}
        ${problem && html`<p class="alarm-text" role="alert">${problem.words}</p>`}
      </div>
    </li>`;
}

function Settled({ conflict }) {
  const { shown, others, why, at, path: place, section } = conflict;
  return html`
    <li class="over">
      <div class="what">
        <p><code>${place}</code>${section && html` <span class="muted">${section}</span>`}:
          ${shown ? html` <strong><${Written} written=${shown} /></strong> stays` : ' nothing stays'}${
          others.length > 0 && html` over ${others.map((lost, n) => html`${n > 0 && ', '}
            <${Written} key=${n} written=${lost} />`)}`}.</p>
        <p class="muted">${why[0].toUpperCase() + why.slice(1)}. Settled here
          ${' '}<${When} time=${at} />.</p>
      </div>
    </li>`;
}

/** A value with who wrote it and when, by the writer's clock. */
function Written({ written: { value, author, at } }) {
  return html`<code>${value === null ? 'deleted' : JSON.stringify(value)}</code>${' '}
    <span class="muted">(${author}, <${When} time=${at} />)</span>`;
}
