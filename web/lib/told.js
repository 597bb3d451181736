// Runs of gateways as a hub tells of them: on which gateway one is, how old that word is, and how
// somebody decides there. A hub knows what logs tell; what a run waits for and what it knows only
// its gateway does.

import { html } from './ui.js';
import { nameOf } from './fleet.js';
import { Age, Copy, When } from './parts.js';
import { isOver } from './runs.js';

/** The gateway of a run; none while gateways are not known yet, or once it was removed. */
export const gatewayOf = (run, gateways) => gateways.find((one) => nameOf(one) === run.node);

/** What a gateway did that nobody hears is not known here. */
export function Silent({ run, gateway }) {
  if (!gateway || gateway.state === 'online' || isOver(run)) return null;
  return html`
    <p class="warn-text">${run.node} is not heard since <${When} time=${gateway.since} />
      ${' '}(<${Age} time=${gateway.since} />): what the run did since then is not known here.</p>`;
}

/** On which gateway a run is, and what only that one can tell. */
export function Place({ run, gateway }) {
  const href = `./#${new URLSearchParams({ node: run.node })}`;
  return html`
    <p class="muted">On ${gateway ? html`<a href=${href}>${run.node}</a>` : run.node}. ${
      isOver(run) ? 'What it knew' : 'What it waits for and what it knows'} is told there:
      ${' '}<code>holdfast-edge workflow show ${run.id}</code></p>
    ${!run.by && html`<p class="muted">How it began has not come from there yet.</p>`}
    <${Silent} run=${run} gateway=${gateway} />`;
}

/** How somebody decides about a run that is parked: where it runs. */
export function DecideThere({ run }) {
  return html`
    <div class="decisions">
      <p>Decide on <strong>${run.node}</strong>, on its page or with one of ${' '}<code>retry</code>,
        ${' '}<code>skip</code>, <code>set</code>, <code>compensate</code>:</p>
      <${Copy} text=${`holdfast-edge workflow decide ${run.id} retry`}
        label="command for the gateway" />
    </div>`;
}
