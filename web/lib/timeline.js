// The history of a run as a line of time from above: each thing that happened with its moment, and
// between two of them the more room the more time passed. Dashed is what has not come yet.

import { classes, html, useState } from './ui.js';
import { useNow } from './hooks.js';
import { duration, local, utc } from './time.js';
import { Words } from './parts.js';
import { timelineOf } from './runs.js';
import { count } from './units.js';

/** Lines that are drawn at first: the last ones. */
const LAST = 100;

const TONES = {
  done: 'good', failed: 'alarm', parked: 'alarm', decided: 'accent', undoing: 'warn',
  succeeded: 'good', ended: 'alarm', cancelled: 'warn', signal: 'accent', now: 'accent',
};

export function Timeline({ run }) {
  const now = useNow();
  const [most, setMost] = useState(LAST);
  const moments = timelineOf(run, now);
  const isSplit = new Set(run.history.map(({ node }) => node)).size > 1;
  const hidden = Math.max(0, moments.length - most);
  return html`
    ${hidden > 0 && html`<p class="more"><button onClick=${() => setMost(most * 4)}>
      Show earlier (${count(hidden)} hidden)</button></p>`}
    <ol class="timeline" aria-label="History">${moments.slice(hidden).map((one, n) => html`
      <${Moment} key=${hidden + n} moment=${one} isFirst=${n === 0} isSplit=${isSplit} />`)}</ol>`;
}

/** One of a run that two nodes tell of says which one does. */
function Moment({ moment: { at, what, line, text, node, gap }, isFirst, isSplit }) {
  const isAhead = what === 'until';
  const lasted = isAhead ? `in ${duration(gap.ms)}`
    : what === 'now' ? `${duration(gap.ms)} so far` : `${duration(gap.ms)} later`;
  return html`
    ${!isFirst && gap.told && html`<li class=${classes('gap', `g${gap.size}`,
      (isAhead || what === 'now') && 'open')}><span>${lasted}</span></li>`}
    <li class=${classes('moment', TONES[what], isAhead && 'ahead')}>
      <p><time datetime=${at} title=${utc(at)}>${local(at)}</time>
        ${' '}<strong>${isAhead ? 'at the latest' : what}</strong>
        ${isSplit && node && html` <span class="muted">on ${node}</span>`}
        ${line && html` <span class="muted">line ${line}</span>`}</p>
      ${text && html`<p class="text"><${Words} text=${text} /></p>`}
    </li>`;
}
