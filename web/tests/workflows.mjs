// Answers of the routes of workflows and runs, for a site with a pump that is in trouble. Times are
// told from now. A fixture, not a model of the engine: what is decided changes what is listed.

import { edgeStatus, hubRoutes, iso } from './fixtures.mjs';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

export function flow(id, change = {}) {
  return {
    id, version: '1', title: '', placement: 'any', enabled: true, added: iso(-50 * HOUR),
    by: 'first administrator', at_once: 1, input: { device: 'a text of at most 64 bytes' },
    bytes: 611, ...change,
  };
}

/** The id of a run; a greater number began later. */
export const idOf = (number) => `01a228a3236c${String(number).padStart(20, '0')}`;

export const wait = (change = {}) => ({
  fiber: 0, line: 7, for: 'timer', text: 'waits for a time, then goes on', until: iso(12 * MINUTE),
  ...change,
});

export const line = (age, what, text = '', at = null) => ({ at: iso(-age), what, line: at, text });

export function run(number, change = {}) {
  return {
    id: idOf(number), workflow: 'pump-dry', version: '1', state: 'running', by: 'ann',
    began: iso(-HOUR), stepped: iso(-10 * MINUTE), error: null, output: null, waits: [wait()],
    variables: { device: 'ps-017', level: 0.25 },
    history: [line(HOUR, 'started', 'by ann')], ...change,
  };
}

/** A part that is parked since twenty minutes; its run did something else since. */
export const parkedRun = (number, change = {}) => run(number, {
  waits: [wait({
    for: 'decision', until: null, line: 5,
    text: 'waits for somebody to decide: unreachable: ps-017 does not answer',
  })],
  history: [
    line(HOUR, 'started', 'by ann'),
    line(HOUR - 200, 'asked', 'effect 1: command stop of ps-017', 5),
    line(20 * MINUTE, 'parked', 'unreachable: ps-017 does not answer', 5),
  ],
  ...change,
});

const told = (depth, text, line_, next, waiting = 0, parked = 0) => (
  { depth, text, line: line_, next, counts: { waiting, parked } }
);

export const OUTLINE = {
  title: 'pump-dry version 1: The pump ran dry',
  head: [
    { name: 'runs on', text: 'any, at most 1 at once, then queue' },
    { name: 'lasts', text: '2h; priority 5' },
  ],
  input: [
    { name: 'device', type: 'text', default: null },
    { name: 'limit', type: 'decimal', default: 2.5 },
    { name: 'rounds', type: 'int', default: 3 },
    { name: 'alarm', type: 'bool', default: true },
  ],
  signals: [{ name: 'acknowledged', brings: [{ name: 'by', type: 'text', default: null }] }],
  runs: 3,
  lines: [
    told(0, 'does command device=${device} name=stop; timeout 30s', 5, 2, 0, 1),
    told(1, 'does command device=${device} name=start', 9, null),
    told(0, 'waits for 10m', 7, 3, 2),
    told(0, 'does publish topic=pumps/${device}/state', 8, 4),
    told(0, 'ends well', 8, null),
  ],
};

const outlineOf = (found) => {
  if (!found) return OUTLINE;
  const lines = OUTLINE.lines.map((one) => {
    const fibers = found.waits.filter((each) => each.line === one.line && !one.depth);
    return { ...one, counts: { waiting: fibers.length, parked: 0 }, fibers: fibers.map((f) => f.fiber) };
  });
  return { ...OUTLINE, runs: 1, lines };
};

function listed(runs, url) {
  const wanted = (name) => url.searchParams.get(name);
  const isParked = (one) => one.waits.some((each) => each.for === 'decision');
  const all = runs.filter((one) => (
    (!wanted('node') || one.node === wanted('node'))
    && (!wanted('workflow') || one.workflow === wanted('workflow'))
    && (!wanted('state') || (wanted('state') === 'parked' ? isParked(one) : one.state === wanted('state')))
    && (!wanted('text') || JSON.stringify(one).includes(wanted('text')))
    && (!wanted('before') || one.id < wanted('before'))
  )).sort((a, b) => (a.id < b.id ? 1 : -1));
  const limit = Number(wanted('limit') ?? 100);
  const short = ({ variables, history, ...rest }) => rest;
  return { runs: all.slice(0, limit).map(short), more: all.length > limit };
}

function decided(found, { how, values }) {
  if (how === 'skip' && found.stubborn) return { status: 409, problem: 'nothing of it is parked' };
  found.history.push(line(0, 'decided', `${how} by first administrator`, 5));
  found.stepped = iso(0);
  if (how === 'set') Object.assign(found.variables, values);
  else found.waits = [wait()];
  return null;
}

const DIAGNOSTICS = [
  { line: 2, column: 10, message: 'expected a text', advice: 'put it in quotes' },
  { line: 4, column: 5, message: 'unknown key `timeuot` in `command`', advice: null },
];

/** A notice that was sent twice by mail and never by its webhook. */
export function notice(number, change = {}) {
  const way = { name: 'mail ann@site.example', failures: 0, last_error: null };
  return {
    id: String(number).padStart(24, '0'), state: 'open', workflow: 'pump-dry', target: 'on-call',
    device: 'ps-017', text: 'ps-017 runs dry', count: 3, since: iso(-2 * HOUR), said: iso(-MINUTE),
    runs: [idOf(1), idOf(2)], over: null, acknowledged_by: null,
    channels: [
      { ...way, sent: 2, last_sent: iso(-20 * MINUTE), due: iso(40.5 * MINUTE) },
      {
        ...way, name: 'webhook', sent: 0, last_sent: null, due: iso(-1_000), failures: 4,
        last_error: 'unreachable: chat.site.example does not answer',
      },
    ],
    ...change,
  };
}

export const acknowledgedNotice = (number, change = {}) => notice(number, {
  state: 'acknowledged', over: iso(-5 * MINUTE), acknowledged_by: 'bob', channels: [], ...change,
});

const noticesOf = (notices) => (url) => {
  const isWanted = ({ state }) => url.searchParams.get('state') !== 'open' || state === 'open';
  return { notices: notices.filter(isWanted).slice(0, Number(url.searchParams.get('limit'))) };
};

/** What is sent to a node about runs and notices that there are: kept in `asked`, and done. */
function acting({ asked, runs, notices }) {
  const find = (id) => runs.find((one) => one.id === id);
  return (url, body) => {
    const [, , kind, id, verb, name] = url.pathname.split('/').map(decodeURIComponent);
    asked.push({ kind, id, verb, name, body });
    if (kind === 'notices') {
      const found = notices.find((one) => one.id === id);
      if (!found) return { status: 404, problem: `there is no notice \`${id}\` here` };
      const by = 'first administrator';
      return Object.assign(found, { state: 'acknowledged', acknowledged_by: by, over: iso(0) });
    }
    if (verb === 'decisions') return decided(find(id), body);
    if (verb === 'cancel') Object.assign(find(id), { state: 'cancelled', error: 'cancelled', waits: [] });
    if (verb === 'signals') find(id).history.push(line(0, 'signal', `${name} from ann`));
    return null;
  };
}

/** The routes; all lists may be changed while a page is open, `asked` has what was sent. */
export function workflowRoutes(flows = [flow('pump-dry')], runs = [], notices = []) {
  const asked = [];
  const told = acting({ asked, runs, notices });
  const countOf = ({ id, version }) => {
    const own = runs.filter((one) => one.workflow === id && one.version === version);
    const begun = own.filter(({ state }) => ['running', 'undoing'].includes(state));
    const parked = begun.filter(({ waits }) => waits.some((each) => each.for === 'decision'));
    const waiting = own.filter(({ state }) => state === 'waiting').length;
    return { workflow: id, version, under_way: begun.length, waiting, parked: parked.length };
  };
  const find = (id) => runs.find((one) => one.id === id);
  const act = (url, body) => {
    const [, , kind, , verb] = url.pathname.split('/').map(decodeURIComponent);
    const answer = told(url, body);
    if (kind === 'workflows' && verb === 'runs') {
      if (body.input.device === 'nowhere') return { status: 422, problem: '`device` is not known' };
      runs.push(run(900 + runs.length, { variables: body.input }));
      return { run: runs.at(-1).id, waits: false, was_there: false };
    }
    return answer;
  };
  return {
    asked,
    'GET /v1/status': () => edgeStatus(),
    'GET /v1/workflows': () => ({ workflows: flows }),
    'GET /v1/runs': (url) => listed(runs, url),
    'GET /v1/notices': noticesOf(notices),
    'GET /v1/runs/counts': () => ({ counts: flows.map(countOf) }),
    'GET *': (url) => {
      const [, , kind, id] = url.pathname.split('/').map(decodeURIComponent);
      if (kind === 'runs') return find(id);
      return url.pathname.endsWith('/outline') ? outlineOf(find(url.searchParams.get('run'))) : undefined;
    },
    'POST /v1/workflows': (url, { definition }) => {
      asked.push({ definition });
      if (definition.includes('timeuot')) return { status: 422, problem: 'wrong', diagnostics: DIAGNOSTICS };
      flows.push(flow('added', { version: '7' }));
      return { ...flows.at(-1), warnings: ['3:1: `n` is never read'] };
    },
    'POST *': act,
    'PATCH *': (url, body) => {
      flows.find(({ id }) => url.pathname.includes(`/${id}/`)).enabled = body.enabled;
      return null;
    },
    'DELETE *': (url) => {
      const at = flows.findIndex(({ id }) => url.pathname.includes(`/${id}/`));
      const pinned = runs.filter(({ workflow, state }) => workflow === flows[at].id && state === 'running');
      if (pinned.length > 0) return { status: 409, problem: `${pinned.length} of its runs are under way` };
      flows.splice(at, 1);
      return null;
    },
  };
}

/** A run as a hub tells of it: from the lines of its history, so without all that is in no line. */
export function toldRun(number, node, change = {}) {
  const { variables, ...one } = run(number, { node, waits: [], ...change });
  return one;
}

/** One that is parked: of which part and in which line the hub does not know. */
export const parkedToldRun = (number, node, change = {}) => toldRun(number, node, {
  waits: parkedRun(number).waits.map((each) => ({ ...each, line: null })),
  history: parkedRun(number).history, ...change,
});

/** One of the hub itself: listed as those of gateways are; asked for, all of it is known. */
export const ownRun = (number, change = {}) => run(number, { node: 'hub', ...change });

/** A part of it that is parked, not the first, as a hub knows it of its own runs. */
export const ownParkedRun = (number, change = {}) => ownRun(number, {
  waits: parkedRun(number).waits.map((each) => ({ ...each, fiber: 3 })),
  history: parkedRun(number).history, ...change,
});

/** The routes of a hub with runs of its gateways and of its own, and with its own notices. */
export function toldRoutes(nodes, runs, notices = []) {
  const fleet = hubRoutes(nodes);
  const asked = [];
  const find = (id) => runs.find((one) => one.id === id);
  const short = (each) => ({ ...each, fiber: 0, line: null });
  return {
    ...fleet,
    asked,
    'GET /v1/notices': noticesOf(notices),
    'POST *': acting({ asked, runs, notices }),
    'GET /v1/runs': (url) => {
      const wanted = (name) => url.searchParams.get(name);
      const isThere = ({ site, name }) => wanted('node') === `${site}/${name}`;
      if (wanted('node') && wanted('node') !== 'hub' && !nodes.nodes.some(isThere)) {
        return { status: 400, problem: `there is no node \`${wanted('node')}\`` };
      }
      const { runs: found, more } = listed(runs, url);
      const parked = ({ waits }) => waits.filter((each) => each.for === 'decision').slice(0, 1);
      return { runs: found.map((one) => ({ ...one, waits: parked(one).map(short) })), more };
    },
    'GET *': (url) => {
      const [, , kind, id] = url.pathname.split('/').map(decodeURIComponent);
      if (kind === 'runs') return find(id);
      return url.pathname.endsWith('/outline') ? outlineOf(find(url.searchParams.get('run')))
        : fleet['GET *'](url);
    },
  };
}
