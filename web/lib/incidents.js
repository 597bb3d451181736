// What waits for a person: the runs with a part that is parked, each with the reason, since when,
// and the answers that one may give. What was answered stays to be read, with the way to the run.
// A hub shows those of its gateways and says where they are decided about.

import { classes, html, useState } from './ui.js';
import { Decisions } from './decide.js';
import { useAnswer } from './hooks.js';
import { Age, When, Words } from './parts.js';
import { decisionsOf, isParked, parkedOf, shortRun } from './runs.js';
import { Silent, gatewayOf } from './told.js';
import { counted, valueText } from './units.js';

export const INCIDENTS_MS = 3_000;
/** Incidents that are asked for; that there are more is told. */
export const INCIDENTS_MAX = 200;
/** Incidents that are shown at first. */
const FIRST = 20;
/** Variables and earlier decisions that are told of one. */
const VALUES = 6;
const DECISIONS = 3;
/** Answers of this visit that stay to be read. */
const TOLD = 5;

/**
 * `gateways`: those of the fleet, where a hub tells of their runs; `where`: the one whose runs these
 * are, if they are of one.
 */
export function Incidents({ incidents, open, mayChange, changed, gateways, where }) {
  const { answer, problem, reload } = incidents;
  const [most, setMost] = useState(FIRST);
  const [told, setTold] = useState([]);
  if (!answer) {
    return problem && html`<p class="banner alarm" role="alert">${problem.words}</p>`;
  }
  const { runs, more } = answer;
  const done = (run, words) => {
    const at = new Date().toISOString();
    setTold([{ run, words, at }, ...told].slice(0, TOLD));
    reload();
    changed();
  };
  const title = runs.length === 0 ? 'Nothing waits for a decision'
    : `${more ? 'More than ' : ''}${counted(runs.length, 'run')} ${
      runs.length === 1 ? 'waits' : 'wait'} for a decision`;
  const place = where ? ` on ${where}` : '';
  return html`
    <section class=${classes('list alerts incidents', runs.length > 0 && 'alarm')}
      aria-label="Incidents">
      <div class="row toolbar"><h2 role="status">${title}${place}</h2></div>
      ${gateways && runs.length > 0 && html`<p class="muted note">Decide on the gateway of a run,
        on its page or with <code>holdfast-edge workflow decide RUN ...</code></p>`}
      ${told.map(({ run, words, at }) => html`
        <p class="good-text told" role="status" key=${at}>Answered for ${run.workflow}:
          ${' '}<strong>${words}</strong> <span class="muted"><${Age} time=${at} /></span>
          ${' '}<button class="quiet" onClick=${() => open(run)}>See ${shortRun(run.id)}</button></p>`)}
      ${runs.length > 0 && html`<ul>${runs.slice(0, most).map((run) => html`
        <${Incident} key=${run.id} run=${run} open=${open} mayChange=${mayChange}
          gateways=${gateways} done=${(words) => done(run, words)} />`)}</ul>`}
      ${runs.length > most && html`<p class="more"><button onClick=${() => setMost(most * 4)}>
        Show more (${runs.length - most} hidden)</button></p>`}
    </section>`;
}

function Incident({ run: listed, open, mayChange, done, gateways }) {
  // Asked for anew when it did a step, so the list alone is asked for again and again.
  const { answer } = useAnswer(`/v1/runs/${encodeURIComponent(listed.id)}`, [listed.stepped]);
  const run = answer ?? listed;
  const parked = run.waits.filter(isParked);
  const before = decisionsOf(run).slice(0, DECISIONS);
  const values = Object.entries(run.variables ?? {}).slice(0, VALUES);
  return html`
    <li class="active alarm">
      <div class="what">
        <div class="row"><p><strong>${run.workflow}</strong> <span class="muted">version
          ${' '}${run.version}${gateways && html`, on <strong>${run.node}</strong>`}, begun
          ${' '}<${When} time=${run.began} />${run.by && ` by ${run.by}`}</span></p>
          <button class="quiet" aria-label=${`Open run ${run.id}`} onClick=${() => open(run)}
            >Open</button></div>
        ${values.length > 0 && html`<p class="values">${values.map(([name, value]) => html`
          <span key=${name}><span class="muted">${name}</span> ${shown(value)}</span> `)}</p>`}
        ${parked.map((wait) => html`<${Parked} key=${wait.fiber} run=${run} wait=${wait}
          mayChange=${mayChange && !run.device} done=${done} />`)}
        ${gateways && html`<${Silent} run=${run} gateway=${gatewayOf(run, gateways)} />`}
        ${before.map((one) => html`<p class="note muted" key=${one.at}>Decided before:
          ${' '}${one.text}, <${Age} time=${one.at} /></p>`)}
      </div>
    </li>`;
}

/** A part of a run that is parked, with the answers. */
export function Parked({ run, wait, mayChange, done }) {
  const { why, since, line, doing } = parkedOf(run, wait);
  return html`
    <div class="parked">
      <p class="alarm-text"><strong><${Words} text=${why} /></strong></p>
      <p class="muted">${doing && html`<code>${doing}</code>, `}${line && `line ${line}, `}
        since <${When} time=${since} /> (<${Age} time=${since} />)</p>
      ${mayChange && html`<${Decisions} run=${run} wait=${wait} done=${done} />`}
    </div>`;
}

export const shown = (value) => (typeof value === 'string' ? value : valueText(value));
