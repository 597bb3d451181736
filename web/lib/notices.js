// What workflows tell people, and what of it nobody has said yet that they know: to whom, about
// what, since when, and on each way how often it was sent and why not. A button says that somebody
// knows; another one shows what was.

import { classes, html, useState } from './ui.js';
import { path, post } from './api.js';
import { Confirm } from './confirm.js';
import { usePolled } from './hooks.js';
import { Age, When } from './parts.js';
import { clock } from './time.js';
import { counted } from './units.js';

const ASK_MS = 4_000;
/** Notices that are asked for; that there are more is told. */
const NOTICES_MAX = 200;
/** Notices that are shown at first. */
const FIRST = 20;
/** Acknowledgements of this visit that stay to be read. */
const TOLD = 5;

/** `open(run)` shows one that said so; `ofHub`: on the page of a fleet these are the hub's. */
export function Notices({ open, mayChange, ofHub }) {
  const [all, setAll] = useState(false);
  const [most, setMost] = useState(FIRST);
  const [told, setTold] = useState([]);
  const url = path('/v1/notices', { state: all ? 'all' : 'open', limit: NOTICES_MAX });
  const { answer, problem, reload } = usePolled(url, ASK_MS);
  const notices = answer?.notices ?? [];
  const unknown = notices.filter(isOpen);
  const done = (notice) => {
    setTold([{ ...notice, at: new Date().toISOString() }, ...told].slice(0, TOLD));
    reload();
  };
  return html`
    <section class=${classes('list alerts notices', unknown.length > 0 && 'warn')}
      aria-label="Notices">
      <div class="row toolbar"><h2 role="status">${titleOf(answer && unknown.length)}</h2>
        <button class="quiet" aria-pressed=${all ? 'true' : 'false'}
          onClick=${() => setAll(!all)}>${all ? 'Only open ones' : 'History'}</button></div>
      ${problem && html`<p class="banner alarm" role="alert">${problem.words}</p>`}
      ${ofHub && notices.length > 0 && html`<p class="muted note">By runs of the hub itself; what
        runs of a gateway tell somebody is on its page.</p>`}
      ${told.map(({ id, text, target, at }) => html`
        <p class="good-text told" role="status" key=${id}>Acknowledged: <strong>${text}</strong>. ${
          target} is not told any more. <span class="muted"><${Age} time=${at} /></span></p>`)}
      ${notices.length > 0 && html`<ul>${notices.slice(0, most).map((notice) => html`
        <${Notice} key=${notice.id} notice=${notice} open=${open} mayChange=${mayChange}
          done=${() => done(notice)} />`)}</ul>`}
      ${all && answer && notices.length === 0 && html`
        <p class="empty">Nobody was told anything.</p>`}
      ${notices.length > most && html`<p class="more"><button onClick=${() => setMost(most * 4)}>
        Show more (${notices.length - most} hidden)</button></p>`}
    </section>`;
}

const isOpen = ({ state }) => state === 'open';

function titleOf(number) {
  if (typeof number !== 'number') return 'Notices';
  if (number === 0) return 'No open notice';
  return counted(number, 'open notice') + (number < NOTICES_MAX ? '' : ' or more');
}

function Notice({ notice, open, mayChange, done }) {
  const { id, workflow, target, device, text, count, since, said, runs, channels } = notice;
  const last = runs.at(-1);
  return html`
    <li class=${classes(isOpen(notice) ? 'active warn' : 'over')}>
      <div class="what">
        <p><strong>${text}</strong></p>
        <p class="muted">To <strong>${target}</strong>${device && `, about ${device}`}, by
          ${' '}${workflow}, since <${When} time=${since} /> (<${Age} time=${since} />)${
          count > 1 && html`, said ${count} times, the last <${Age} time=${said} />`}</p>
        <ul class="ways">${channels.map((channel) => html`
          <${Way} key=${channel.name} channel=${channel} />`)}</ul>
        ${isOpen(notice) && channels.length === 0 && html`<p class="muted">Not sent yet.</p>`}
        <${End} notice=${notice} />
      </div>
      <div class="row actions">
        ${last && html`<button class="quiet" aria-label=${`Open the run of notice ${id}`}
          onClick=${() => open({ id: last })}>Open run</button>`}
        ${isOpen(notice) && mayChange && html`
          <${Confirm} word="Acknowledge…" look="" grave=${false} title=${text} yes="Acknowledge"
            no="Not now" act=${() => post(`/v1/notices/${encodeURIComponent(id)}/acknowledge`)}
            done=${done}>
            ${target} is not told of it any more. The runs that said so hear that somebody knows,
            and go on if they wait for that. What is said of it after this is a new notice.
          <//>`}
      </div>
    </li>`;
}

/** One way on which it is sent: how often and when, why not, and when the next time is. */
function Way({ channel: { name, sent, last_sent: last, due, failures, last_error: error } }) {
  const isAhead = due && Date.parse(due) > clock.now();
  const next = isAhead ? html` <${When} time=${due} /> (<${Age} time=${due} />)` : ' is now';
  const failed = failures > 0 && `failed ${counted(failures, 'time')} in a row: ${error}`;
  return html`
    <li><code>${name}</code>: ${sent === 0 ? 'not sent yet'
      : html`sent ${counted(sent, 'time')}, the last <${Age} time=${last} />`}${failed && html`,
      ${' '}<span class="alarm-text">${failed}</span>`}${due && html`, the next time${next}`}</li>`;
}

function End({ notice: { state, over, acknowledged_by: by } }) {
  if (state === 'acknowledged') {
    return html`<p class="note">Acknowledged by ${by} <${Age} time=${over} /></p>`;
  }
  return state === 'given-up' && html`
    <p class="note">Given up <${Age} time=${over} />: nobody said for a week that they know.</p>`;
}
