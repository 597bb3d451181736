// What somebody should look at, before everything else on the page: active alerts, the gravest
// first, with a button that takes note of one. Behind another button is what was. The list is asked
// for again whenever the node says that an alert has changed, so it is never put together here.

import { classes, html, useEffect, useRef, useState } from './ui.js';
import { path, post } from './api.js';
import { useAnswer } from './hooks.js';
import { Age, When } from './parts.js';
import { duration } from './time.js';
import { counted } from './units.js';

const SHOWN = 50;
const TONES = { critical: 'alarm', warning: 'warn' };

/** `feed` tells when to ask again; `ofFleet` whether alerts may be of several nodes. */
export function Alerts({ feed, mayChange, ofFleet }) {
  const [all, setAll] = useState(false);
  const [limit, setLimit] = useState(SHOWN);
  const url = path('/v1/alerts', { state: all ? 'all' : 'active', limit });
  const { answer, problem, reload } = useAnswer(url, [feed.alerts]);
  const alerts = answer?.alerts ?? [];
  const active = alerts.filter((alert) => alert.state === 'active');
  const title = all ? counted(answer?.total ?? 0, 'alert') + ' so far' : titleOf(answer);
  const worst = TONES[active[0]?.severity];
  return html`
    <section class=${classes('list alerts', worst)} aria-label="Alerts">
      <div class="row toolbar">
        <h2 role="status">${title}</h2>
        <button class="quiet" aria-pressed=${all ? 'true' : 'false'}
          onClick=${() => setAll(!all)}>${all ? 'Only active ones' : 'History'}</button>
      </div>
      ${problem && html`<p class="alarm-text" role="alert">${problem.words}</p>`}
      ${answer?.unwatched > 0 && html`<p class="alarm-text">There are more series than alert rules
        may watch: ${counted(answer.unwatched, 'pair')} of rule and series left out.</p>`}
      ${alerts.length > 0 && html`<ul>${alerts.map((alert) => html`
        <${Alert} key=${`${alert.node} ${alert.id}`} alert=${alert} ofFleet=${ofFleet}
          mayChange=${mayChange} done=${reload} />`)}</ul>`}
      ${all && answer && alerts.length === 0 && html`<p class="empty">Nothing has happened.</p>`}
      ${answer && answer.total > alerts.length && html`<p class="more">
        <button onClick=${() => setLimit(limit * 4)}>
          Show more (${answer.total - alerts.length} hidden)</button></p>`}
    </section>`;
}

function titleOf(answer) {
  if (!answer) return 'Alerts';
  return answer.total === 0 ? 'No active alert' : counted(answer.total, 'active alert');
}

function Alert({ alert, ofFleet, mayChange, done }) {
  const { severity, text, since, cleared, acknowledged } = alert;
  const isActive = alert.state === 'active';
  const tone = isActive && TONES[severity];
  return html`
    <li class=${classes(isActive ? 'active' : 'over', tone)}>
      <div class="what">
        <p><span class=${classes('badge', tone)}>${severity}</span>
          <strong>${text}</strong></p>
        <p class="muted">${placeOf(alert, ofFleet)}<code>${alert.rule}</code>, since
          ${' '}<${When} time=${since} />
          ${isActive ? html` (<${Age} time=${since} />)` : html`, ${endOf(since, cleared)}`}</p>
        ${acknowledged.map((ack) => html`<p class="note" key=${ack.node}>
          Acknowledged by ${ack.who}${ofFleet && ` at ${ack.node}`} <${Age} time=${ack.at} />${
          ack.note && html`: <q>${ack.note}</q>`}</p>`)}
      </div>
      ${isActive && mayChange && html`<${Acknowledge} alert=${alert} done=${done} />`}
    </li>`;
}

/** Where it is, as far as its text is not the only one to say so. */
function placeOf({ node, device, metric, gateway }, ofFleet) {
  const names = [ofFleet && node, gateway, device, metric].filter(Boolean);
  return names.length > 0 && html`${names.join(' · ')} · `;
}

function endOf(since, cleared) {
  if (cleared.reason === 'unwatched') return 'no longer watched';
  const lasted = Math.max(0, Date.parse(cleared.at) - Date.parse(since));
  return html`over at <${When} time=${cleared.at} />
    ${' '}after ${duration(lasted)}`;
}

function Acknowledge({ alert, done }) {
  const dialog = useRef(null);
  const [asked, setAsked] = useState(false);
  const [problem, setProblem] = useState(null);
  useEffect(() => {
    if (asked) dialog.current.showModal();
  }, [asked]);
  const submit = async (event) => {
    event.preventDefault();
    const note = new FormData(event.currentTarget).get('note').trim();
    try {
      await post(`/v1/alerts/${encodeURIComponent(alert.id)}/ack`, { note });
      setAsked(false);
      setProblem(null);
      done();
    } catch (refused) {
      setProblem(refused);
    }
  };
  const word = alert.acknowledged.length > 0 ? 'Add a note…' : 'Acknowledge…';
  return html`
    <button onClick=${() => setAsked(true)}>${word}</button>
    ${asked && html`
      <dialog ref=${dialog} aria-label="Acknowledge an alert" onClose=${() => setAsked(false)}>
        <form class="stack" onSubmit=${submit}>
          <h2>${alert.text}</h2>
          <p>It stays active until its cause is gone; others see that you know of it.</p>
          <label>Note <input name="note" maxlength="250" autofocus autocomplete="off"
            placeholder="what you do about it" /></label>
          ${problem && html`<p class="alarm-text" role="alert">${problem.words}</p>`}
          <div class="row end">
            <button type="button" onClick=${() => setAsked(false)}>Cancel</button>
            <button class="primary">Acknowledge</button>
          </div>
        </form>
      </dialog>`}`;
}
