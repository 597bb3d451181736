// What a device with our firmware tells of itself: what it runs and how an update of that stands,
// its starts, and what it has lost. All of it stands below `device` in what it reports, where
// another device may say what it likes; what is not there, or is no such thing, is left out.

import { classes, html } from './ui.js';
import { When } from './parts.js';
import { count, counted } from './units.js';

const REASONS = {
  power: 'the power came', 'brown-out': 'its voltage was too low',
  watchdog: 'its watchdog found it hanging', software: 'it was to', fault: 'it had a fault',
  unknown: 'nobody knows why',
};
const LOSSES = [
  ['dropped', (number) => `${counted(number, 'sample')} given up, its flash was full`],
  ['damaged', (number) => `${counted(number, 'sample')} that could not be read back`],
  ['rejected', (number) => `${counted(number, 'message')} that did not follow the format`],
];
const TONES = [
  [/^refused|^fell back/, 'alarm-text'], [/^on trial/, 'warn-text'], [/^runs/, 'good-text'],
];

const text = (value) => (typeof value === 'string' && value !== '' ? value : null);
const number = (value) => (typeof value === 'number' ? value : null);
const why = (reason) => (Object.hasOwn(REASONS, reason) ? REASONS[reason] : reason);

/** `says` is what stands at `device` in what it reports. */
export function About({ says }) {
  const rows = says && typeof says === 'object' ? rowsOf(says) : [];
  if (rows.length === 0) return null;
  return html`
    <section aria-label="Device">
      <dl class="values">${rows.map(([name, what]) => html`
        <dt key=${name}>${name}</dt><dd>${what}</dd>`)}</dl>
      <${Starts} starts=${says.starts} />
    </section>`;
}

function rowsOf({ firmware, board, update, boot, reason, ...says }) {
  const lost = LOSSES.filter(([name]) => number(says[name]) !== null);
  const some = lost.filter(([name]) => says[name] > 0);
  return [
    text(firmware) && ['Firmware', html`<code>${firmware}</code>`],
    text(board) && ['Board', html`<code>${board}</code>`],
    text(update?.progress) && ['Update', html`<${Update} update=${update} />`],
    number(boot) !== null && ['Starts', `${count(boot)}${text(reason) === null ? ''
      : `, the last one because ${why(reason)}`}`],
    lost.length > 0 && ['Lost', some.length === 0 ? 'nothing' : some.map(([name, words]) => html`
      <p key=${name} class="warn-text">${words(says[name])}</p>`)],
  ].filter(Boolean);
}

function Update({ update: { version, progress, artefact } }) {
  const tone = TONES.find(([words]) => words.test(progress))?.[1];
  const called = text(version) ?? text(artefact);
  return html`${called && html`<code title=${text(artefact)}>${called}</code> `}
    <span class=${classes(tone)}>${progress}</span>`;
}

/** The last starts of which a gateway has heard, the newest first. */
function Starts({ starts }) {
  const all = (Array.isArray(starts) ? starts : []).filter((one) => number(one?.boot) !== null);
  if (all.length === 0) return null;
  return html`
    <details>
      <summary>Last starts</summary>
      <table class="starts" aria-label="Last starts">
        <thead><tr><th scope="col">Start</th><th scope="col">When</th><th scope="col">Why</th>
          <th scope="col">Firmware</th></tr></thead>
        <tbody>${all.map(({ boot, at, reason, firmware }, n) => html`
          <tr key=${n}>
            <td class="number">${count(boot)}</td><td><${When} time=${text(at)} /></td>
            <td title=${text(reason) && why(reason)}>${text(reason)}</td><td><code>${text(firmware)}</code></td>
          </tr>`)}</tbody>
      </table>
    </details>`;
}
