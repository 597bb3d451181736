// Answers as the API gives them, for a small water works and for a fleet. Times are told from now.

export const iso = (ms) => new Date(Date.now() + ms).toISOString();
const MINUTE = 60_000;

export const STORE = {
  used_bytes: 13_400_000_000, quota_bytes: 32_000_000_000, growth_per_day: 210_000_000,
  days_left: 88.5, refusing: false, shed_acknowledged: 0, shed_unacknowledged: 0,
};
const PIPELINE = { cursor: 812_344, head: 812_344, lag: 0, unreadable: 0 };

export function edgeStatus(change = {}) {
  const uplink = {
    state: 'online', since: iso(-3 * 60 * MINUTE), hub: '92165550c9a524e832ab60ae026282ec',
    attempts: 0, last_error: null, behind: 0, heard: iso(-2_000), clock_ahead_ms: 12,
  };
  return {
    node: {
      id: '12D3KooWGateway', site: 'north', name: 'ps-017', joined: true, incarnation: '7-ab12',
      version: '0.1.0', started: iso(-9e7), role: 'edge',
    },
    uplink: { ...uplink, ...change.uplink },
    store: { ...STORE, ...change.store },
    pipeline: PIPELINE,
    devices: 4,
    series: 12,
    findings: change.findings ?? [],
  };
}

const asOf = () => ({ time: iso(0), head: 10, read_to: 10, lag: 0 });

export function reading(device, metric, unit, value, change = {}) {
  const { age = 4_000, quality = [], node = 'north/ps-017' } = change;
  const time = iso(-age);
  return { node, device, metric, unit, last: { time, received: time, value, quality } };
}

const METRICS = [
  ['level', 'm', 2.354], ['pressure', 'bar', 4.07], ['flow', 'm3/h', 118.25], ['temp', 'Cel', 21.5],
  ['energy', 'kW.h', 18_234.6], ['running', '', true],
];

export function edgeSeries() {
  const series = [];
  for (const device of ['pump-1', 'pump-2', 'pump-10', 'tank-1']) {
    for (const [metric, unit, value] of METRICS) {
      const age = device === 'pump-10' ? 47 * MINUTE : 4_000;
      const quality = device === 'pump-2' && metric === 'flow' ? ['uncertain', 'anchored'] : [];
      const one = reading(device, metric, unit, value, { age, quality });
      series.push({ ...one, count: 60_000, first: iso(-7 * 86_400_000) });
    }
  }
  return { as_of: asOf(), total: series.length, series };
}

/** A wave, a point every 10 s or less often, without those of the times that `lacks` tells. */
export function points(url, lacks = () => false) {
  const query = url.searchParams;
  const from = Date.parse(query.get('from') ?? iso(-86_400_000));
  const to = Date.now() + 5 * MINUTE;
  const step = Math.max(10_000, (to - from) / Number(query.get('points') ?? 500));
  const out = [];
  for (let time = Math.ceil(from / step) * step; time < Date.now(); time += step) {
    const value = 2.35 + Math.sin(time / 4e5) * 0.4 + Math.sin(time / 3.1e4) * 0.05;
    if (!lacks(time)) out.push([new Date(time).toISOString(), Number(value.toFixed(3))]);
  }
  return {
    as_of: asOf(), nodes: ['north/ps-017'], device: query.get('device'),
    metric: query.get('metric'), unit: query.get('unit'), from: new Date(from).toISOString(),
    to: new Date(to).toISOString(), points: out,
  };
}

export function readings(url, lacks) {
  if (url.searchParams.has('points')) return points(url, lacks);
  const list = [0, 10, 20, 30].map((seconds) => ({
    time: iso(-seconds * 1000), device_time: null, received: iso(-seconds * 1000), value: 2.3,
    quality: seconds === 20 ? ['device-clock'] : [], boot: null, seq: null,
  }));
  return { as_of: asOf(), more: false, readings: list };
}

export function rollups(url) {
  const width = url.searchParams.get('width') === '1h' ? 3_600_000 : 5 * MINUTE;
  const from = Date.parse(url.searchParams.get('from'));
  const windows = [];
  for (let start = Math.ceil(from / width) * width; start + width < Date.now(); start += width) {
    const mean = 2.35 + Math.sin(start / 4e6) * 0.4;
    const [min, max] = [mean - 0.1 - 0.05 * Math.sin(start / 7e5), mean + 0.12];
    windows.push({
      start: new Date(start).toISOString(), end: new Date(start + width).toISOString(), count: 30,
      sum: mean * 30, mean, min, max, first: {}, last: {}, revision: { boot: 1, seq: 1 },
    });
  }
  return { as_of: asOf(), width_s: width / 1000, nodes: [{ node: 'north/ps-017', windows }] };
}

export function alert(id, text, change = {}) {
  return {
    id, text, node: 'north/ps-017', state: 'active', severity: 'warning', rule: 'tank-high',
    device: 'tank-1', metric: 'level', unit: 'm', gateway: null, value: 3.7, since: iso(-9e5),
    said: iso(-9e5), cleared: null, acknowledged: [], ...change,
  };
}

/** The routes of alerts; the list may be changed while a page is open. */
export function alertRoutes(alerts = []) {
  return {
    'GET /v1/alerts': (url) => {
      const wanted = (one) => url.searchParams.get('state') === 'all' || one.state === 'active';
      const found = alerts.filter(wanted);
      return { as_of: asOf(), total: found.length, unwatched: 0, alerts: found };
    },
    'POST *': (url, { note }) => {
      const found = alerts.find((one) => url.pathname === `/v1/alerts/${one.id}/ack`);
      if (!found) return { status: 404, problem: 'there is no such alert' };
      found.acknowledged = [{ node: 'north/ps-017', at: iso(0), who: 'Ann', note }];
      return found;
    },
  };
}

/** A value that somebody wrote. */
const written = (value, author, age) => ({ value, author, role: 'edge', at: iso(-age) });

/** What was written at once: `mode` waits for somebody, `limits/low` was settled by its rule. */
export function conflictsOf(device) {
  const of = { document: `device/${device}/desired`, device, section: 'desired' };
  const open = {
    ...of, id: 'c0ffee', state: 'open', path: 'mode', rule: 'keep-all', outcome: null, at: null,
    why: 'all values are kept until somebody chooses', shown: written('manual', 'hub', 60_000),
    others: [written('auto', 'north/ps-017', 90_000)],
  };
  const settled = {
    ...of, id: 'decade', state: 'settled', path: 'limits/low', rule: 'min', outcome: 'use_local',
    at: iso(-30_000), why: 'of values written at once the least stays',
    shown: written(3, 'north/ps-017', 90_000), others: [written(5, 'hub', 60_000)],
  };
  return [open, settled];
}

/** What a device with our firmware tells of itself, in the midst of an update. */
export const ofItself = () => ({
  boot: 12, reason: 'watchdog', firmware: '1.1.0', board: 'mps2-an385',
  dropped: 1834, damaged: 0, rejected: 1,
  update: { version: '1.2.0', progress: 'fetching', artefact: '0123456789abcdef' },
  starts: [
    { boot: 12, at: iso(-3_600_000), reason: 'watchdog', firmware: '1.1.0' },
    { boot: 10, reason: 'power', firmware: '1.0.0-rc.1' },
  ],
});

/** The twin of a device, which may be changed while a page is open, and its conflicts. */
export function twinRoutes(device, conflicts = []) {
  const meta = { author: 'hub', role: 'hub', at: iso(-60_000) };
  const part = (values, metadata) => ({ version: '7d40', values, metadata });
  const twin = {
    device,
    desired: part({ mode: 'auto', net: { mtu: 1400 } }, { mode: meta, 'net/mtu': meta }),
    reported: part({ mode: 'auto', net: { mtu: 1500 } }, { mode: meta, 'net/mtu': meta }),
    tags: part({ room: 3 }, { room: meta }),
    differences: [{ path: 'net/mtu', desired: 1400, reported: 1500 }],
  };
  const base = `/v1/devices/${device}/twin`;
  const change = {
    change: 'ab12', at: iso(-60_000), node: 'hub',
    paths: [{ path: 'net/mtu', from: 1300, to: 1400, author: 'hub', role: 'hub' }],
  };
  return {
    twin,
    [`GET ${base}`]: () => twin,
    [`GET ${base}/history`]: () => ({ changes: [change], more: false }),
    [`PATCH ${base}/desired`]: (url, patch) => {
      if (patch[''] !== undefined) return { status: 422, problem: 'a name is empty' };
      Object.assign(twin.desired.values.net, patch.net);
      twin.differences = [];
      return twin.desired.values;
    },
    'GET /v1/conflicts': (url) => {
      const state = url.searchParams.get('state');
      const found = conflicts.filter((one) => state === 'all' || one.state === state);
      return { conflicts: found, open: found.length, before: null };
    },
    'POST /v1/conflicts/c0ffee/resolve': (url, { use }) => {
      const at = conflicts.findIndex(({ id }) => id === 'c0ffee');
      const [open] = conflicts.splice(at, 1);
      return { ...open, state: 'settled', shown: [open.shown, ...open.others][use] };
    },
  };
}

const NO_CONFLICTS = { 'GET /v1/conflicts': () => ({ conflicts: [], open: 0, before: null }) };

/** The devices of the series; `labels` maps some of them to what people call them. */
const devices = (series, labels) => {
  const ids = [...new Set(series.series.map(({ device }) => device))];
  const heard = iso(-3_000);
  return ids.map((id) => ({ id, label: labels[id] ?? null, last_heard: heard, series: 1 }));
};

export const edgeRoutes = (
  status = edgeStatus(), series = edgeSeries(), alerts = [], labels = {},
) => ({
  ...alertRoutes(alerts),
  ...NO_CONFLICTS,
  'GET /v1/status': () => status,
  'GET /v1/devices': () => ({ devices: devices(series, labels) }),
  'GET /v1/series': () => series,
  'GET /v1/readings': readings,
  'GET /v1/rollups': rollups,
});

export function node(site, name, state, change = {}) {
  const [never, stale] = [state === 'never', state === 'stale'];
  const heard = (age) => (never ? null : iso(stale ? -95 * MINUTE : age));
  return {
    id: `12D3KooW${site}${name}`, site, name, state, since: heard(-9e6), heard: heard(-1_500),
    behind: never ? null : 0, last_received: heard(-3_000), readings: 81_233,
    clock_ahead_ms: never ? null : 4, version: never ? null : '0.1.0', not_after: iso(2e10),
    end_reason: stale ? 'timed out' : null, ...change,
  };
}

export function fleet(number = 24) {
  const nodes = [];
  for (let i = 1; i <= number; i += 1) {
    const site = ['north', 'south', 'harbour', 'hill'][i % 4];
    const name = `ps-${String(i).padStart(3, '0')}`;
    const state = i % 11 === 0 ? 'stale' : i % 23 === 0 ? 'never' : 'online';
    const change = i === 11 ? { behind: null } : i === 5 ? { clock_ahead_ms: -184_000 } : {};
    nodes.push(node(site, name, state, change));
  }
  return { as_of: asOf(), nodes };
}

const pathOf = ({ site, name }) => `/v1/nodes/${site}/${name}`;

export function hubRoutes(nodes, lacks, alerts = []) {
  const series = { as_of: asOf(), total: 0, series: [] };
  for (const device of ['pump-1', 'tank-1']) {
    for (const [metric, unit, value] of METRICS) {
      const one = reading(device, metric, unit, value, { node: 'south/ps-001' });
      series.series.push({ ...one, count: 60_000, first: iso(-7 * 86_400_000) });
    }
  }
  const gap = {
    stream: 'reading', from: iso(-3 * 86_400_000), to: iso(-2.8 * 86_400_000), entries: 1843,
    reason: 'shed for space',
  };
  const hub = { id: '12D3KooWHub', version: '0.1.0', started: iso(-9e7), role: 'hub', fleet: 'f7' };
  return {
    ...alertRoutes(alerts),
    ...NO_CONFLICTS,
    'GET /v1/status': () => ({
      node: hub, store: STORE, pipeline: PIPELINE, nodes: {}, series: 12, findings: [],
    }),
    'GET /v1/nodes': () => nodes,
    'GET /v1/series': () => series,
    'GET /v1/readings': (url) => readings(url, lacks),
    'GET /v1/rollups': rollups,
    'POST /v1/enrolments': (url, body) => (body.site === 'bad site'
      ? { status: 422, problem: '`bad site` is not the name of a site' }
      : { ...body, invitation: 'holdfast-aebagbafaydqqcikbmga2dqpcaireeyuculbogazdinryhi6d4' }),
    'GET *': (url) => {
      const found = nodes.nodes.find((one) => url.pathname === pathOf(one));
      return found && { ...found, series: 12, gaps: [gap] };
    },
    'DELETE *': (url) => {
      const rest = nodes.nodes.filter((one) => url.pathname !== pathOf(one));
      nodes.nodes.splice(0, nodes.nodes.length, ...rest);
      return {};
    },
  };
}
