// One run: what each part of it waits for, until when and with what it goes on then; what it knows;
// and its history as a line of time. A hub shows of the runs of its gateways what it was told, and
// its own as a gateway does.

import { html, useState } from './ui.js';
import { post } from './api.js';
import { CancelRun } from './decide.js';
import { Ask } from './fields.js';
import { flowUrl } from './flow.js';
import { usePolled } from './hooks.js';
import { Parked, shown } from './incidents.js';
import { Outline } from './outline.js';
import { Pane } from './pane.js';
import { Age, When, Words } from './parts.js';
import { Badges } from './runlist.js';
import { failureOf, isOver, isParked, thenOf, waitWords } from './runs.js';
import { Timeline } from './timeline.js';
import { DecideThere, Place, gatewayOf, isHere } from './told.js';

const ASK_MS = 2_000;
const runUrl = (id) => `/v1/runs/${encodeURIComponent(id)}`;

/** `gateways`: those of the fleet, where a hub tells of a run of theirs. */
export function Run({ id, close, mayChange, changed, gateways }) {
  const { answer: run, problem, reload } = usePolled(runUrl(id), ASK_MS);
  // Of a run that is over the workflow may be gone, and it stands nowhere; a hub has none of those
  // that run elsewhere.
  const flow = run && !isOver(run) && isHere(run) && { id: run.workflow, version: run.version };
  const outlineUrl = flow && `${flowUrl(flow)}/outline`;
  const here = usePolled(outlineUrl && `${outlineUrl}?run=${id}`, ASK_MS);
  const [told, setTold] = useState(null);
  if (!run) {
    return html`
      <${Pane} title="Run" subtitle=${id} close=${close}>
        ${problem ? html`<p class="alarm-text" role="alert">${problem.words}</p>`
          : html`<p class="muted">Loading…</p>`}
      <//>`;
  }
  const outline = here.answer;
  // Nobody tells a device what is to become of its runs, and a gateway only those who are there.
  const mayAct = mayChange && !run.device && isHere(run);
  const done = (words) => {
    setTold({ words, at: new Date().toISOString() });
    reload();
    here.reload();
    changed();
  };
  return html`
    <${Pane} title=${run.workflow} subtitle=${`version ${run.version}, run ${id}`}
      badge=${html`<${Badges} run=${run} />`} close=${close}>
      ${problem && html`<p class="alarm-text" role="alert">${problem.words}</p>`}
      <p class="muted">Begun <${When} time=${run.began} whole />${run.by && ` by ${run.by}`}, its
        last step <${Age} time=${run.stepped} />.${run.device && ` It is on the device ${run.device}.`}</p>
      ${gateways && html`<${Place} run=${run} gateway=${gatewayOf(run, gateways)} />`}
      ${mayAct && !isOver(run) && html`<div class="row actions">
        <${Signals} run=${run} signals=${outline?.signals ?? []} done=${done} />
        ${!run.waits.some(isParked) && html`
          <${CancelRun} run=${run} done=${() => done('cancel')} />`}
      </div>`}
      ${told && html`<p class="good-text" role="status">Answered: <strong>${told.words}</strong>
        ${' '}<span class="muted"><${Age} time=${told.at} /></span></p>`}
      <${Now} run=${run} outline=${outline} mayChange=${mayAct} done=${done} />
      <${Values} title="What it left" values=${run.output ?? {}} />
      <${Values} title="What it knows" values=${run.variables ?? {}} />
      ${run.history?.length > 0 && html`<h3>What happened</h3><${Timeline} run=${run} />`}
      ${outline && !isOver(run) && html`
        <details><summary>Where it is in its workflow</summary>
          <${Outline} outline=${outline} ofRun /></details>`}
    <//>`;
}

function Now({ run, outline, mayChange, done }) {
  if (isOver(run)) {
    return run.error && html`<p class="alarm-text"><strong>${run.state}: ${run.error}</strong></p>`;
  }
  // A hub hears what happened, and of what is awaited only that somebody has to decide.
  const failure = failureOf(run);
  if (!failure && run.waits.length === 0) return null;
  return html`
    <h3>Now</h3>
    ${failure && html`<p class="alarm-text">It fails with <strong>${failure}</strong>.</p>`}
    <ul class="waits">${run.waits.map((wait) => html`
      <li key=${wait.fiber}>
        <${Wait} wait=${wait} then=${thenOf(outline, wait.fiber)} />
        ${isParked(wait) && html`<${Parked} run=${run} wait=${wait} mayChange=${mayChange}
          done=${done} />`}
        ${isParked(wait) && run.node && !mayChange && html`<${DecideThere} run=${run} />`}
      </li>`)}</ul>`;
}

/** “waits for X until T, then Y”; behind what is parked it goes on only if somebody says so. */
function Wait({ wait, then }) {
  const { what, ends, orElse } = waitWords(wait);
  return html`<p>${wait.line && html`<span class="muted">line ${wait.line}</span> `}
    <strong>${isParked(wait) ? 'is parked' : html`<${Words} text=${what} />`}</strong>${wait.until && html`
    ${' '}${ends} <${When} time=${wait.until} /> (<${Age} time=${wait.until} />)`}${
    orElse && ', else fails with timeout'}${then && html`, ${isParked(wait) ? 'behind it' : 'then'} <code>${then}</code>`}</p>`;
}

function Values({ title, values }) {
  const all = Object.entries(values);
  return all.length > 0 && html`
    <h3>${title}</h3>
    <dl class="values">${all.map(([name, value]) => html`
      <dt key=${name}>${name}</dt><dd>${shown(value) === '' ? html`<span class="muted">empty</span>`
        : shown(value)}</dd>`)}</dl>`;
}

function Signals({ run, signals, done }) {
  return signals.map(({ name, brings }) => html`
    <${Ask} key=${name} word=${`Send ${name}…`} title=${`Send ${name}`} yes="Send" fields=${brings}
      send=${(values) => post(`${runUrl(run.id)}/signals/${encodeURIComponent(name)}`, values)}
      done=${() => done(`signal ${name}`)}>
      ${run.waits.some(({ text }) => text.includes(`\`${name}\``)) ? 'It waits for that now.'
        : 'It does not wait for that now; the signal is kept until it does.'}
    <//>`);
}
