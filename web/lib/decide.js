// What somebody may say about a part of a run that is parked. Each answer says what it does before
// it is given, and is told to `done` once the node has taken it.

import { html } from './ui.js';
import { post } from './api.js';
import { Confirm } from './confirm.js';
import { Ask } from './fields.js';
import { typeOf } from './runs.js';

const ANSWERS = [
  {
    how: 'retry', word: 'Retry', look: 'primary', grave: false,
    text: 'It tries again where it failed, under the same key: what was done already is not done '
      + 'twice by whoever knows the key.',
  },
  {
    how: 'skip', word: 'Skip', look: '', grave: true,
    text: 'It goes on behind the step, as if that were done. Nothing is done in its place.',
  },
  {
    how: 'compensate', word: 'Compensate', look: 'danger', grave: true,
    text: 'It fails, and what it did so far is undone, the last thing first.',
  },
];

const runUrl = (run) => `/v1/runs/${encodeURIComponent(run.id)}`;

/** The answers to one part; `done(words)` is called after each. */
export function Decisions({ run, wait, done }) {
  const { fiber } = wait;
  const say = (body) => post(`${runUrl(run)}/decisions`, { fiber, ...body });
  const variables = Object.entries(run.variables ?? {});
  const fields = variables.map(([name, value]) => ({ name, type: typeOf(value), value }));
  return html`
    <div class="row decisions">
      ${ANSWERS.map(({ how, word, look, grave, text }) => html`
        <${Confirm} key=${how} word=${`${word}…`} look=${look} grave=${grave}
          title=${`${word}: ${run.workflow}`} yes=${word} no="Not now"
          act=${() => say({ how })} done=${() => done(how)}>${text}<//>`)}
      ${fields.length > 0 && html`
        <${Ask} word="Set values…" title=${`Values of ${run.workflow}`} yes="Set" fields=${fields}
          changedOnly send=${(values) => say({ how: 'set', values })}
          done=${(answer, values) => done(`set ${Object.keys(values).join(', ')}`)}>
          It stays parked; try again afterwards.
        <//>`}
      <${CancelRun} run=${run} done=${() => done('cancel')} />
    </div>`;
}

export function CancelRun({ run, done }) {
  const undone = run.state === 'undoing' ? 'It is undoing already: where that is parked it ends as '
    + 'it is, with the rest not undone.' : 'It ends as cancelled, and what it did so far is undone.';
  return html`
    <${Confirm} word="Cancel run…" look="danger" title=${`Cancel this run of ${run.workflow}?`}
      yes="Cancel it" no="Let it go on" act=${() => post(`${runUrl(run)}/cancel`)} done=${done}>
      ${run.state === 'waiting' ? 'It has not begun, and will not.' : undone}
    <//>`;
}
