// How much goes through the broker: what crosses the network now and in the last minutes, what was
// dropped and why, what waits.

import { html, useMemo } from './ui.js';
import { KEPT_MS, curveOf, droppedLately, rateText, ratesOf } from './broker.js';
import { Chart, spanOf } from './chart.js';
import { Meter, Tile } from './parts.js';
import { bytes, count, counted } from './units.js';

/** From this part on, room for messages that wait is short. */
const SHORT = 0.8;

const sum = (numbers) => numbers.reduce((all, one) => all + one, 0);

const CURVES = [['Messages in, per second', 'in'], ['Messages out, per second', 'out']];
/** A page that was just opened has little to draw. */
const SPAN_LEAST_MS = 2 * 60_000;

const spanMs = (samples) => (
  Math.min(KEPT_MS, Math.max(SPAN_LEAST_MS, samples.at(-1).up - samples[0].up))
);

export function Traffic({ status, samples }) {
  const rates = ratesOf(samples);
  const curves = useMemo(() => CURVES.map(([label, name]) => ({
    label, name, data: curveOf(samples, name), span: spanOf(spanMs(samples)),
  })), [samples]);
  return html`
    <div class="tiles">
      <${Clients} status=${status} />
      <${Flow} name="From clients" rate=${rates?.in} size=${rates?.inBytes} each=${rates?.inQos}
        total=${status.received} slowed=${status.slowed} />
      <${Flow} name="To clients" rate=${rates?.out} size=${rates?.outBytes} each=${rates?.outQos}
        total=${status.sent} />
      <${Dropped} status=${status} lately=${droppedLately(samples)} />
      <${Waits} status=${status} />
    </div>
    <div class="charts">${curves.map(({ label, name, data, span }) => html`
      <section class="card" key=${name}>
        <${Chart} kind="line" rate unit="/s" label=${label} data=${data}
          span=${span} />
      </section>`)}</div>`;
}

function Clients({ status }) {
  const { connected, kept, sessions, watchers, connections, refused } = status;
  const away = sessions - connected;
  const opening = connections - connected;
  return html`
    <${Tile} name="Clients" tone=${connected > 0 ? 'good' : undefined}
      answer=${`${count(connected)} connected`}>
      <p class="muted">${counted(kept, 'kept session')}, ${count(away)} away.
        ${opening > 0 && ` ${count(opening)} not let in yet.`}
        ${watchers > 1 && ` ${count(watchers)} pages watch.`}</p>
      ${refused.clients > 0 && html`<p class="muted">${counted(refused.clients, 'client')} turned
        away since the start.</p>`}
    <//>`;
}

function Flow({ name, rate, size, each, total, slowed = 0 }) {
  const answer = rate === undefined ? '…' : `${rateText(rate)} messages/s`;
  const parts = each?.map((one, qos) => (one > 0 ? `QoS ${qos}: ${rateText(one)}/s` : null));
  const qos = (parts ?? []).filter(Boolean).join(', ');
  return html`
    <${Tile} name=${name} answer=${answer}>
      <p class="muted">${size === undefined ? '' : `${bytes(size)}/s`}${qos && `; ${qos}`}</p>
      <p class="muted">${counted(sum(total.messages), 'message')}, ${bytes(total.bytes)} since the
        start.</p>
      ${slowed > 0 && html`<p class="muted">A client was slowed down
        ${' '}${counted(slowed, 'time')}.</p>`}
    <//>`;
}

const REASONS = {
  full: 'queue full, or not taken', expired: 'expired', too_large: 'too large', lost: 'damaged',
};

function Dropped({ status: { dropped, refused }, lately }) {
  const reasons = Object.keys(REASONS).filter((reason) => dropped[reason] > 0);
  const total = sum(reasons.map((reason) => dropped[reason]));
  const tone = lately > 0 || dropped.lost > 0 ? 'alarm' : total > 0 ? 'warn' : 'good';
  const answer = lately > 0 ? `${count(lately)} lately` : total > 0 ? 'Nothing lately' : 'Nothing';
  return html`
    <${Tile} name="Dropped" tone=${tone} answer=${answer}>
      ${total > 0 && html`<p class="muted">Since the start: ${reasons.map((reason) => (
        `${count(dropped[reason])} ${REASONS[reason]}`)).join(', ')}.</p>`}
      ${refused.messages > 0 && html`<p class="muted">${counted(refused.messages, 'message')}
        ${' '}refused; the log says why.</p>`}
      ${refused.shed > 0 && html`<p class="alarm-text">${counted(refused.shed, 'message')} with
        readings came faster than the disk.</p>`}
      ${refused.unread > 0 && html`<p class="muted">${counted(refused.unread, 'message')} that a
        mapping cannot read.</p>`}
    <//>`;
}

function Waits({ status }) {
  const { queued_bytes: queued, queues_max_bytes: most, retained, retained_bytes: size } = status;
  const part = most > 0 ? queued / most : 0;
  const tone = part >= SHORT ? 'alarm' : 'good';
  return html`
    <${Tile} name="Waiting for clients" tone=${part >= SHORT ? 'alarm' : undefined}
      answer=${queued > 0 ? bytes(queued) : 'Nothing'}>
      ${queued > 0 && html`<${Meter} value=${part} tone=${tone} label="used of the room" />`}
      <p class="muted">${queued > 0 && `Of ${bytes(most)}. `}${counted(retained, 'topic')} retained,
        ${' '}${bytes(size)}.</p>
    <//>`;
}
