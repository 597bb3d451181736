// What waits for a person: the runs with a part that is parked, each with the reason, since when,
// and the answers that one may give. What was answered stays to be read, with the way to the run.
// A hub shows those of its gateways, too, and says where they are decided about: one answers there
// what the hub itself runs.

import { classes, html, useEffect, useState } from './ui.js';
import { Decisions } from './decide.js';
import { useAnswer, usePolled } from './hooks.js';
import { Age, When, Words } from './parts.js';
import { decisionsOf, isOver, isParked, outcomeOf, parkedOf, shortRun } from './runs.js';
import { Silent, gatewayOf, isHere, placeOf } from './told.js';
import { counted, valueText } from './units.js';

export const INCIDENTS_MS = 3_000;
/** Incidents that are asked for; that there are more is told. */
export const INCIDENTS_MAX = 200;
/** Incidents that are shown at first. */
const FIRST = 20;
/** Variables and earlier decisions that are told of one. */
const VALUES = 6;
const DECISIONS = 3;
/** Answers of this visit that stay to be read, each with what came of it. */
const TOLD = 5;
const TOLD_MS = 2_000;

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
  const done = (run, words, fiber) => {
    const at = new Date().toISOString();
    setTold([{ run, words, fiber, at }, ...told].slice(0, TOLD));
    reload();
    changed();
  };
  const title = runs.length === 0 ? 'Nothing waits for a decision'
    : `${more ? 'More than ' : ''}${counted(runs.length, 'run')} ${
      runs.length === 1 ? 'waits' : 'wait'} for a decision`;
  const place = where ? ` on ${placeOf(where)}` : '';
  return html`
    <section class=${classes('list alerts incidents', runs.length > 0 && 'alarm')}
      aria-label="Incidents">
      <div class="row toolbar"><h2 role="status">${title}${place}</h2></div>
      ${!runs.every(isHere) && html`<p class="muted note">Decide on the gateway of a run, on its
        page or with <code>holdfast-edge workflow decide RUN ...</code>${runs.some(isHere)
          && '; about those of the hub here'}</p>`}
      ${told.map((one) => html`<${Answered} key=${one.at} told=${one} open=${open} />`)}
      ${runs.length > 0 && html`<ul>${runs.slice(0, most).map((run) => html`
        <${Incident} key=${run.id} run=${run} open=${open} mayChange=${mayChange}
          gateways=${gateways} done=${(words, fiber) => done(run, words, fiber)} />`)}</ul>`}
      ${runs.length > most && html`<p class="more"><button onClick=${() => setMost(most * 4)}>
        Show more (${runs.length - most} hidden)</button></p>`}
    </section>`;
}

/** What was answered, and what came of it, which is asked for until the run is over. */
function Answered({ told: { run, words, fiber, at }, open }) {
  const [over, setOver] = useState(null);
  const { answer } = usePolled(over ? null : runUrl(run.id), TOLD_MS);
  const now = over ?? answer;
  useEffect(() => {
    if (answer && isOver(answer)) setOver(answer);
  }, [answer]);
  const { text, tone, ends, until } = now ? outcomeOf(now, fiber) : {};
  return html`
    <p class="told" role="status"><span class="good-text">Answered for ${run.workflow}:
      ${' '}<strong>${words}</strong></span> <span class="muted"><${Age} time=${at} /></span>${
      text && html`. <span class=${tone && `${tone}-text`}>Now <${Words} text=${text} />${
      until && html` ${ends} <${When} time=${until} />`}.</span>`}
      ${' '}<button class="quiet" onClick=${() => open(run)}>See ${shortRun(run.id)}</button></p>`;
}

const runUrl = (id) => `/v1/runs/${encodeURIComponent(id)}`;

function Incident({ run: listed, open, mayChange, done, gateways }) {
  // Asked for anew when it did a step, so the list alone is asked for again and again.
  const { answer } = useAnswer(runUrl(listed.id), [listed.stepped]);
  const run = answer ?? listed;
  // The list of a hub does not say which part it is.
  const mayDecide = mayChange && !run.device && (gateways ? answer && isHere(run) : true);
  const parked = run.waits.filter(isParked);
  const before = decisionsOf(run).slice(0, DECISIONS);
  const values = Object.entries(run.variables ?? {}).slice(0, VALUES);
  return html`
    <li class="active alarm">
      <div class="what">
        <div class="row"><p><strong>${run.workflow}</strong> <span class="muted">version
          ${' '}${run.version}${gateways && html`, on <strong>${placeOf(run.node)}</strong>`}, begun
          ${' '}<${When} time=${run.began} />${run.by && ` by ${run.by}`}</span></p>
          <button class="quiet" aria-label=${`Open run ${run.id}`} onClick=${() => open(run)}
            >Open</button></div>
        ${values.length > 0 && html`<p class="values">${values.map(([name, value]) => html`
          <span key=${name}><span class="muted">${name}</span> ${shown(value)}</span> `)}</p>`}
        ${parked.map((wait) => html`<${Parked} key=${wait.fiber} run=${run} wait=${wait}
          mayChange=${mayDecide} done=${(words) => done(words, wait.fiber)} />`)}
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
