// What a workflow does, line by line, with how many of its runs stand where right now.

import { classes, html } from './ui.js';
import { count } from './units.js';

/** Lines further in are no further to the right: a phone has no room for them. */
const DEPTHS = 8;

/** `ofRun`: the counts are of one run, so a place is marked and not counted. */
export function Outline({ outline, ofRun = false }) {
  return html`
    <ol class="outline" aria-label="Steps">${outline.lines.map((line, n) => html`
      <${Line} key=${n} line=${line} ofRun=${ofRun} />`)}</ol>`;
}

function Line({ line: { depth, text, line, counts }, ofRun }) {
  const { waiting, parked } = counts;
  const words = (number, word) => (ofRun && number === 1 ? word : `${count(number)} ${word}`);
  return html`
    <li class=${classes(`d${Math.min(depth, DEPTHS)}`, (waiting > 0 || parked > 0) && 'stands',
      parked > 0 && 'alarm')}>
      <span class="at">${line}</span>
      <span class="does">${text}</span>
      ${parked > 0 && html`<span class="badge alarm">${words(parked, 'parked')}</span>`}
      ${waiting > 0 && html`<span class="badge good">${words(waiting, 'here')}</span>`}
    </li>`;
}
