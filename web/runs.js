// The page of runs on the hub: what waits for a person on any node first, then what the hub tells
// people, then the runs of all nodes. Those of gateways are told from their logs, so one looks here
// and decides there; about those of the hub one decides here. The address holds the filters and
// what is open (`?node=north/ps-017&state=parked#run=ID`), so a view can be a bookmark.

import { classes, html, render, useRef } from './lib/ui.js';
import { path } from './lib/api.js';
import { nameOf } from './lib/fleet.js';
import { feedOf, useAnswer, useHash, usePolled, useQuery } from './lib/hooks.js';
import { INCIDENTS_MAX, INCIDENTS_MS, Incidents } from './lib/incidents.js';
import { Notices } from './lib/notices.js';
import { Head, Tabs, fleetTitleOf } from './lib/parts.js';
import { Run } from './lib/run.js';
import { HUB } from './lib/told.js';
import { RunList, RUNS_MS, runsUrl } from './lib/runlist.js';
import { Gate } from './lib/session.js';

/** Whether gateways are heard changes slowly. */
const GATEWAYS_MS = 10_000;

function Runs({ session, signOut }) {
  const { answer: status } = useAnswer('/v1/status');
  const [query, ask] = useQuery();
  const [hash, go] = useHash();
  const { node } = query;
  const parkedUrl = path('/v1/runs', { node, state: 'parked', limit: INCIDENTS_MAX });
  const incidents = usePolled(parkedUrl, INCIDENTS_MS);
  const runs = usePolled(runsUrl(query), RUNS_MS);
  const nodes = usePolled('/v1/nodes', GATEWAYS_MS);
  const gateways = nodes.answer?.nodes ?? [];
  const seen = useSeen([incidents, runs]);
  const mayChange = session.scope === 'admin';
  const changed = () => [incidents, runs].forEach((one) => one.reload());
  const open = ({ id }) => go({ run: id });
  return html`
    <${Head} title=${fleetTitleOf(status)} kind="hub" feed=${feedOf([incidents, runs, nodes], runs)}
      session=${session} signOut=${signOut} />
    <${Tabs} kind="hub" here="runs" />
    <main>
      <div class=${classes('split', hash.run && 'open')}>
        <div class="lists">
          <${Incidents} incidents=${incidents} open=${open} gateways=${gateways}
            mayChange=${mayChange} changed=${changed}
            where=${incidents.url === parkedUrl ? node : undefined} />
          <${Notices} open=${open} mayChange=${mayChange} ofHub />
          <${RunList} list=${runs} names=${seen} query=${query} ask=${ask} open=${open}
            opened=${hash.run} nodes=${[HUB, ...gateways.map(nameOf)]} />
        </div>
        ${hash.run && html`<${Run} key=${hash.run} id=${hash.run} close=${() => go({})}
          gateways=${gateways} mayChange=${mayChange} changed=${changed} />`}
      </div>
    </main>`;
}

/** The workflows of all runs that were shown since the page was opened; a hub has no other list. */
function useSeen(lists) {
  const seen = useRef(new Set());
  for (const { answer } of lists) {
    for (const { workflow } of answer?.runs ?? []) seen.current.add(workflow);
  }
  return [...seen.current];
}

render(html`<${Gate} kind="hub" page=${Runs}
  command="holdfast-hub token new --viewer --name NAME" />`, document.getElementById('app'));
