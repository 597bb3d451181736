// The page of workflows. What waits for a person comes first, then what people are told, then what
// is installed with how much of it is under way, then the runs. What is open stands beside them, on
// a phone over them. The address holds the filters and what is open, so the back button and a
// bookmark work.

import { classes, html, render, useState } from './lib/ui.js';
import { path } from './lib/api.js';
import { AddFlow } from './lib/definition.js';
import { Flow } from './lib/flow.js';
import { Flows, keyOf } from './lib/flows.js';
import { feedOf, useAnswer, useHash, usePolled, useQuery } from './lib/hooks.js';
import { INCIDENTS_MAX, INCIDENTS_MS, Incidents } from './lib/incidents.js';
import { Notices } from './lib/notices.js';
import { Head, Tabs, titleOf } from './lib/parts.js';
import { Run } from './lib/run.js';
import { RunList, RUNS_MS, runsUrl } from './lib/runlist.js';
import { Gate } from './lib/session.js';

const ASK_MS = 4_000;

function Workflows({ session, signOut }) {
  const { answer } = useAnswer('/v1/status');
  const [query, ask] = useQuery();
  const [hash, go] = useHash();
  const incidents = usePolled(path('/v1/runs', { state: 'parked', limit: INCIDENTS_MAX }), INCIDENTS_MS);
  const flows = usePolled('/v1/workflows', ASK_MS);
  const counts = usePolled('/v1/runs/counts', ASK_MS);
  const runs = usePolled(runsUrl({ ...query, node: null }), RUNS_MS);
  const draft = useState('');
  const mayChange = session.scope === 'admin';
  const all = [incidents, flows, counts, runs];
  const changed = () => all.forEach((one) => one.reload());
  const installed = flows.answer?.workflows;
  const flow = installed?.find(({ id, version }) => id === hash.workflow && version === hash.version);
  const openRun = ({ id }) => go({ run: id });
  const openFlow = ({ id, version }) => go({ workflow: id, version });
  const isOpen = hash.run || flow || (hash.add && mayChange);
  const close = () => go({});
  return html`
    <${Head} title=${answer ? titleOf(answer.node) : '…'} kind="gateway"
      feed=${feedOf(all, flows)} session=${session} signOut=${signOut} />
    <${Tabs} kind="gateway" here="workflows" />
    <main>
      <div class=${classes('split', isOpen && 'open')}>
        <div class="lists">
          <${Incidents} incidents=${incidents} open=${openRun} mayChange=${mayChange}
            changed=${changed} />
          <${Notices} open=${openRun} mayChange=${mayChange} />
          <${Flows} list=${flows} counts=${counts.answer} open=${openFlow} mayChange=${mayChange}
            opened=${flow && keyOf(flow)} add=${() => go({ add: 1 })} />
          <${RunList} list=${runs} names=${(installed ?? []).map(({ id }) => id)} query=${query} ask=${ask} open=${openRun}
            opened=${hash.run} />
        </div>
        ${hash.run ? html`<${Run} key=${`run ${hash.run}`} id=${hash.run} close=${close}
            mayChange=${mayChange} changed=${changed} />`
          : flow ? html`<${Flow} key=${keyOf(flow)} flow=${flow} counts=${counts.answer}
              close=${close} open=${openRun} mayChange=${mayChange} changed=${changed}
              showRuns=${() => {
                close();
                ask({ workflow: flow.id, state: null, q: null, before: null });
                document.querySelector('.runs').scrollIntoView();
              }} />`
            : isOpen && html`<${AddFlow} draft=${draft} close=${close} open=${openFlow} changed=${changed} />`}
      </div>
    </main>`;
}

render(html`<${Gate} kind="gateway" page=${Workflows}
  command="holdfast-edge token new --viewer --name NAME" />`, document.getElementById('app'));
