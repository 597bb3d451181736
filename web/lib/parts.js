// Small pieces both pages are made of: the head of a page, ages, flags, tiles that answer one
// question each, and texts to copy.

import { classes, html, useEffect, useRef, useState } from './ui.js';
import { CLOCK_OFF_MS } from './fleet.js';
import { useNow } from './hooks.js';
import { ago, duration, local, moment, offset, utc } from './time.js';
import { bytes, count, counted, shortId } from './units.js';

/** The head of a page, and the word that what is below is old when nothing answers. */
export function Head({ title, kind, feed, session, signOut }) {
  const now = useNow();
  const live = feed.link === 'live' && !feed.lostSince;
  useEffect(() => {
    document.title = `${title} – Holdfast ${kind}`;
  }, [title, kind]);
  return html`
    <header class="head">
      <img src="icon.svg" alt="" width="24" height="24" />
      <h1>${title} <small>${kind}</small></h1>
      <span class=${classes('link', live ? 'good' : 'warn')} role="status">
        ${live ? 'live' : 'reconnecting…'}</span>
      <${Clock} now=${now} />
      <button class="quiet" title=${`signed in as ${session.name ?? session.id}`}
        onClick=${signOut}>Sign out</button>
    </header>
    ${feed.lostSince && html`<p class="banner alarm" role="alert">
      No answer since ${duration(Date.now() - feed.lostSince)}; trying again by itself. What is
      below is how it was then.</p>`}`;
}

/** What a gateway is called: by its place in the fleet, once it has one. */
export function titleOf({ site, name, joined, id }) {
  if (joined && site) return `${site}/${name}`;
  return name || shortId(id);
}

/** What a fleet is called, from the status of its hub. */
export const fleetTitleOf = (status) => (
  status?.node?.fleet ? `Fleet ${shortId(status.node.fleet)}` : 'Fleet'
);

const PAGES = {
  gateway: [
    ['site', './', 'Site'], ['workflows', 'workflows.html', 'Workflows'],
    ['mqtt', 'mqtt.html', 'MQTT'],
  ],
  hub: [['fleet', './', 'Fleet'], ['runs', 'runs.html', 'Runs']],
};

/** The pages of a gateway or of a hub. */
export function Tabs({ kind, here }) {
  return html`
    <nav class="tabs" aria-label="Pages">${PAGES[kind].map(([id, href, name]) => html`
      <a key=${id} href=${href} aria-current=${id === here ? 'page' : undefined}>${name}</a>`)}</nav>`;
}

/** The node's clock, and the one place that says which zone all times of the page are in. */
function Clock({ now }) {
  const iso = new Date(now).toISOString();
  const title = `${utc(iso)}: the node's clock. All times are in the zone of this browser.`;
  return html`<time class="clock" title=${title}>
    <span class="wide">${local(iso)} </span>${offset(new Date(now))}</time>`;
}

/** A moment in the browser's zone, with UTC for the pointer. */
export function When({ time, whole = false }) {
  if (!time) return html`<span class="muted">–</span>`;
  return html`<time datetime=${time} title=${utc(time)}>${whole ? local(time) : moment(time)}</time>`;
}

/** A sentence of the node, in which names stand between backticks. */
export function Words({ text }) {
  return text.split('`').map((part, n) => (n % 2 ? html`<code key=${n}>${part}</code>` : part));
}

/** What stands where the state is not known yet, or why it will not be. */
export function Waiting({ feed: { problem } }) {
  return problem ? html`<p class="banner alarm" role="alert">${problem.words}</p>`
    : html`<p class="waiting">Loading…</p>`;
}

/** How long ago, kept right by itself. */
export function Age({ time, never = 'never' }) {
  const now = useNow();
  if (!time) return html`<span class="muted">${never}</span>`;
  return html`<time datetime=${time} title=${utc(time)}>${ago(time, now)}</time>`;
}

const MEANING = {
  uncertain: 'the device itself is not sure of this value',
  bad: 'the device says this value is wrong',
  'device-clock': 'the clock of the device is off',
  anchored: 'the device has no clock; the gateway set the time from the age it told',
  'node-clock': 'the clock of the gateway was not set',
  'maybe-repeated': 'it came again without a name or a time, and may be stored twice',
};

/** What limits the trust in a reading; nothing when it is good. */
export function Flags({ quality = [] }) {
  return quality.map((word) => html`
    <span class=${classes('flag', word === 'bad' && 'alarm', word === 'uncertain' && 'warn')}
      title=${MEANING[word] ?? word}>${word}</span>`);
}

/** A question with its answer in words. `tone`: good, warn, alarm or nothing. */
export function Tile({ name, tone, answer, children }) {
  return html`
    <section class=${classes('tile', tone)} aria-label=${name}>
      <h2>${name}</h2>
      <p class="answer">${answer}</p>
      ${children}
    </section>`;
}

/** How full the store is, and until when it lasts. */
export function Disk({ store }) {
  const quota = store.quota_bytes;
  const used = quota > 0 ? Math.min(1, store.used_bytes / quota) : 0;
  const tone = store.refusing || used >= 0.9 ? 'alarm' : used >= 0.8 ? 'warn' : 'good';
  const lost = store.shed_unacknowledged ?? 0;
  const made = store.shed_acknowledged ?? 0;
  const rate = store.growth_per_day;
  const growth = rate === null || rate === undefined ? ' How long it lasts is not known yet.'
    : rate > 0 ? ` +${bytes(rate)} a day.` : ' It does not grow.';
  return html`
    <${Tile} name="Disk" tone=${lost > 0 && tone !== 'alarm' ? 'warn' : tone}
      answer=${diskAnswer(store, used)}>
      <${Meter} value=${used} tone=${tone} label="used of the quota" marks=${[0.8, 0.9]} />
      <p class="muted">${bytes(store.used_bytes)} of ${bytes(quota)} used
        (${used > 0 && used < 0.01 ? 'under 1' : Math.round(used * 100)} %).${growth}</p>
      ${store.refusing && html`<p class="alarm-text" role="alert">New readings are refused until
        there is room: raise the quota or free space.</p>`}
      ${lost > 0 && html`<p class="alarm-text">${counted(lost, 'entry', 'entries')} removed for
        space before the hub had them.</p>`}
      ${made > 0 && html`<p class="muted">${counted(made, 'entry', 'entries')} removed for space;
        the hub has them.</p>`}
    <//>`;
}

function diskAnswer({ refusing, days_left: days }, used) {
  if (refusing) return 'Full: refusing';
  if (days === null || days === undefined) {
    return used >= 0.8 ? 'Nearly full' : 'Room enough';
  }
  if (days < 1) return 'Less than a day left';
  if (days > 3650) return 'More than 10 years left';
  return days > 730 ? `${Math.floor(days / 365)} years left`
    : `${counted(Math.floor(days), 'day')} left`;
}

/** A bar from 0 to 1 with marks. Widths are set through the DOM; style texts are not allowed. */
export function Meter({ value, tone, label, marks = [] }) {
  const bar = useRef(null);
  const shown = Math.round(Math.max(0, Math.min(1, value)) * 1000) / 10;
  useEffect(() => {
    bar.current.style.width = `${shown}%`;
  }, [shown]);
  return html`
    <div class=${classes('meter', tone)} role="meter" aria-label=${label} aria-valuemin="0"
      aria-valuemax="100" aria-valuenow=${shown}>
      <div class="bar" ref=${bar}></div>
      ${marks.map((mark) => html`<${Mark} key=${mark} at=${mark} />`)}
    </div>`;
}

function Mark({ at }) {
  const mark = useRef(null);
  useEffect(() => {
    mark.current.style.left = `${at * 100}%`;
  }, [at]);
  return html`<i class="mark" ref=${mark} title=${`${at * 100} %`}></i>`;
}

/** How far series and rollups are behind the log. */
export function Pipeline({ pipeline }) {
  const { lag, unreadable } = pipeline;
  const tone = unreadable > 0 ? 'alarm' : lag > 10_000 ? 'warn' : 'good';
  const answer = lag > 0 ? `${counted(lag, 'commit')} behind` : 'Up to date';
  return html`
    <${Tile} name="Pipeline" tone=${tone} answer=${answer}>
      <p class="muted">Read to ${count(pipeline.cursor)} of ${count(pipeline.head)}.</p>
      ${unreadable > 0 && html`<p class="alarm-text">${counted(unreadable, 'commit')} could not be
        read.</p>`}
    <//>`;
}

/** Damage that was found, said at the top. */
export function Findings({ findings = [], command }) {
  if (findings.length === 0) return null;
  return html`
    <section class="banner alarm" role="alert">
      <strong>${counted(findings.length, 'finding')} in the store.</strong> What is undamaged is
      served. <code>${command}</code> tells more.
      <ul>${findings.map((finding) => html`<li>${finding}</li>`)}</ul>
    </section>`;
}

/** Whether and how far a clock is off, from the milliseconds it is ahead. */
export function clockWords(ahead) {
  if (ahead === null || ahead === undefined || Math.abs(ahead) < CLOCK_OFF_MS) return null;
  return `${duration(ahead)} ${ahead > 0 ? 'ahead' : 'behind'}`;
}

/** A text to take elsewhere, with a button that copies it. */
export function Copy({ text, label }) {
  const [copied, setCopied] = useState(false);
  const field = useRef(null);
  const copy = async () => {
    setCopied(await toClipboard(text, field.current));
  };
  useEffect(() => {
    const timer = copied && setTimeout(() => setCopied(false), 3000);
    return () => clearTimeout(timer);
  }, [copied]);
  return html`
    <div class="copy">
      <pre><code ref=${field} tabindex="0" aria-label=${label}>${text}</code></pre>
      <button type="button" onClick=${copy}>${copied ? 'Copied' : 'Copy'}</button>
    </div>`;
}

/** The clipboard needs a secure context, which a gateway on a LAN is not; then the old way. */
async function toClipboard(text, field) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection().selectAllChildren(field);
    return document.execCommand('copy');
  }
}
