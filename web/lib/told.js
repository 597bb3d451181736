// Runs of all nodes as a hub tells of them: on which gateway one is, how old that word is, and how
// somebody decides there. Of the runs of gateways a hub knows what logs tell; what one waits for
// and what it knows only its gateway does. Its own it knows as a gateway does.

import { html } from './ui.js';
import { nameOf } from './fleet.js';
import { Age, Copy, When } from './parts.js';
import { isOver } from './runs.js';

/** What runs of the hub itself are told under. */
export const HUB = 'hub';

export const placeOf = (node) => (node === HUB ? 'the hub' : node);

/** Whether the node whose page this is does a run itself: a gateway names no node. */
export const isHere = ({ node }) => node === undefined || node === HUB;

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
  if (run.node === HUB) {
    return html`<p class="muted">On the hub: <code>holdfast-hub workflow show ${run.id}</code></p>`;
  }
  if (run.state === 'forwarded') {
    return html`<p class="muted">${run.node} has handed it to the hub, where it has not begun.</p>`;
  }
  return html`
    <p class="muted">On ${gateway ? html`<a href=${href}>${run.node}</a>` : run.node}. ${
      isOver(run) ? 'What it knew' : 'What it waits for and what it knows'} is told there:
      ${' '}<code>holdfast-edge workflow show ${run.id}</code></p>
    ${!run.by && html`<p class="muted">How it began has not come from there yet.</p>`}
    <${Silent} run=${run} gateway=${gateway} />`;
}

/** How somebody decides about a run that is parked: where it runs. */
export function DecideThere({ run }) {
  const isHub = run.node === HUB;
  return html`
    <div class="decisions">
      <p>Decide on ${isHub ? html`the <strong>hub</strong>`
    : html`<strong>${run.node}</strong>, on its page or`} with one of ${' '}<code>retry</code>,
        ${' '}<code>skip</code>, <code>set</code>, <code>compensate</code>:</p>
      <${Copy} text=${`holdfast-${isHub ? 'hub' : 'edge'} workflow decide ${run.id} retry`}
        label=${`command for the ${isHub ? 'hub' : 'gateway'}`} />
    </div>`;
}
