// What the pages compute, without a browser: times, units, gaps, events, the catalogue, the order.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { catalogOf, devicesOf, keyOf, matches, silence, withReadings } from '../lib/catalog.js';
import { EventParser, pause } from '../lib/events.js';
import { filtered, greatestBehind, inOrder, isTroubled, nameOf, sitesOf } from '../lib/fleet.js';
import {
  breakGaps, columnFloor, fromAnswer, gapSpans, gapThreshold, withPoint,
} from '../lib/points.js';
import { ago, clock, duration, moment, local, offset, stamp, tickLabels, utc } from '../lib/time.js';
import { bytes, count, counted, unitText, valueText } from '../lib/units.js';
import { Problem, path, problemOf } from '../lib/api.js';

const NOW = Date.parse('2026-11-20T16:38:00Z');
const at = (seconds) => new Date(NOW + seconds * 1000).toISOString();

test('ages are told as people say them', () => {
  const cases = [
    [0, 'just now'], [-1, 'just now'], [-12, '12 s ago'], [-200, '3 min ago'], [-7500, '2 h ago'],
    [-47 * 3600, '47 h ago'], [-3 * 86_400, '3 d ago'], [300, 'in 5 min'],
  ];
  for (const [seconds, words] of cases) assert.equal(ago(at(seconds), NOW), words);
  assert.equal(ago(null, NOW), 'never');
  assert.equal(duration(7_500_000), '2 h 5 min');
  assert.equal(duration(-76 * 3_600_000), '3 d 4 h');
  assert.equal(duration(41 * 86_400_000), '41 d');
});

test('a time is shown at the site with its offset, over a change of the clocks', () => {
  const zone = 'Europe/Berlin';
  assert.equal(stamp('2026-11-20T16:38:28.5Z', zone), '2026-11-20 17:38:28 UTC+01:00');
  assert.equal(stamp('2026-07-20T16:38:28Z', zone), '2026-07-20 18:38:28 UTC+02:00');
  assert.equal(stamp('2026-07-20T16:38:28Z', 'UTC'), '2026-07-20 16:38:28 UTC+00:00');
  assert.equal(offset(new Date(NOW), 'Asia/Kolkata'), 'UTC+05:30');
  assert.equal(stamp('yesterday'), '');
  assert.equal(local('2026-11-20T16:38:28.5Z', zone), '2026-11-20 17:38:28');
  assert.equal(utc('2026-11-20T17:38:28+01:00'), '2026-11-20 16:38:28 UTC');
  assert.equal(moment(at(-60), NOW, 'UTC'), '16:37');
  assert.equal(moment(at(-86_400), NOW, 'UTC'), '19 Nov 16:38');
  assert.equal(moment('2025-02-03T04:05:06Z', NOW, 'UTC'), '3 Feb 2025 04:05');
});

test('ticks name the day once', () => {
  const day = Date.parse('2026-11-19T23:00:00Z') / 1000;
  const labels = tickLabels([day, day + 1800, day + 3600], 1800, 'UTC');
  assert.deepEqual(labels, ['23:00\n19 Nov', '23:30', '00:00\n20 Nov']);
  assert.deepEqual(tickLabels([day], 86_400, 'UTC'), ['19 Nov']);
});

test('the clock of the node is followed', () => {
  clock.observe('2026-11-20T16:38:10Z', NOW);
  assert.equal(clock.ahead, 10_000);
  clock.observe('no time', NOW);
  assert.equal(clock.ahead, 10_000);
  clock.ahead = 0;
});

test('units are written as the field writes them', () => {
  const cases = {
    Cel: '°C', '[degF]': '°F', 'm3/h': 'm³/h', 'l/min': 'L/min', m2: 'm²', 'uS/cm': 'µS/cm',
    'umol/l': 'µmol/L', 'kW.h': 'kWh', '%': '%', bar: 'bar', 1: '', '': '', '{rpm}': 'rpm',
    'm/s2': 'm/s²', 'N.m': 'N·m', '[pH]': 'pH', 'parts per day': 'parts per day', V: 'V', mm: 'mm',
    'm.s-2': 'm·s⁻²', 'L/s': 'L/s',
  };
  for (const [code, text] of Object.entries(cases)) assert.equal(unitText(code), text, code);
  assert.equal(unitText(undefined), '');
});

test('values keep what means something', () => {
  const cases = [
    [21.5, '21.5'], [0.1 + 0.2, '0.3'], [-3.25, '−3.25'], [1234567, '1\u202f234\u202f567'],
    [12345.678, '12\u202f345.7'], [0, '0'], [true, 'on'], [false, 'off'], ['open', 'open'],
    [1.5e12, '1.500×10¹²'], [0.00001234, '1.234×10⁻⁵'], [null, '–'], [9999, '9999'],
  ];
  for (const [value, text] of cases) assert.equal(valueText(value), text);
  assert.equal(count(-12345), '−12\u202f345');
  assert.equal(counted(1, 'entry', 'entries'), '1 entry');
  assert.equal(bytes(999), '999 B');
  assert.equal(bytes(999_999), '1.0 MB');
  assert.equal(bytes(12_400_000_000), '12.4 GB');
});

test('a line breaks where data is missing and nowhere else', () => {
  const times = [0, 10, 20, 30, 95, 105];
  const values = [1, 2, 3, 4, 5, 6];
  assert.equal(gapThreshold(times), 50);
  const [broken, parts] = breakGaps([times, values]);
  assert.deepEqual(broken, [0, 10, 20, 30, 62.5, 95, 105]);
  assert.deepEqual(parts, [1, 2, 3, 4, null, 5, 6]);
  const even = [[0, 10, 20], [1, 2, 3]];
  assert.deepEqual(breakGaps(even), even);
  assert.deepEqual(breakGaps([[], []]), [[], []]);
  assert.deepEqual(breakGaps([[5], [1]]), [[5], [1]]);
  assert.deepEqual(gapSpans(times, 50, 0, 105), [[30, 95]]);
  assert.deepEqual(gapSpans(times, 50, 0, 200), [[30, 95], [105, 200]]);
  assert.deepEqual(gapSpans([], 50, 0, 200), []);
});

test('a thinned-out answer has no gaps where four points stand for a column', () => {
  const floor = columnFloor(86_400, 600);
  const times = [];
  for (let column = 0; column < 150; column += 1) {
    const start = column * 576;
    times.push(start, start + 40, start + 60, start + 575);
  }
  assert.deepEqual(breakGaps([times, times], gapThreshold(times, floor))[0], times);
});

test('points that arrive late or twice find their place', () => {
  const start = fromAnswer([[at(0), 1], [at(20), 3]]);
  const [first, last] = [NOW / 1000, NOW / 1000 + 20];
  assert.deepEqual(start, [[first, last], [1, 3]]);
  const late = withPoint(start, first + 10, 2, first);
  assert.deepEqual(late, [[first, first + 10, last], [1, 2, 3]]);
  assert.deepEqual(withPoint(late, first + 10, 2, first), late);
  assert.deepEqual(withPoint(late, last + 1, 4, last), [[last, last + 1], [3, 4]]);
});

test('events are whole whatever pieces they come in', () => {
  const text = ': hello\r\n\r\nevent: readings\r\ndata: [1,\r\ndata: 2]\r\n\r\n'
    + 'data:plain\n\nevent: none\n\nid: 4\rdata: old mac\r\r';
  const whole = [
    { type: 'readings', data: '[1,\n2]' }, { type: 'message', data: 'plain' },
    { type: 'message', data: 'old mac' },
  ];
  for (let cut = 1; cut < text.length; cut += 1) {
    const parser = new EventParser();
    const events = [...parser.feed(text.slice(0, cut)), ...parser.feed(text.slice(cut))];
    assert.deepEqual([...events, ...parser.feed('\n')], whole, `cut at ${cut}`);
  }
});

test('pauses grow to a bound and never vanish', () => {
  assert.equal(pause(0, () => 1), 1_000);
  assert.equal(pause(30, () => 1), 15_000);
  assert.ok(pause(0, () => 0) > 0);
});

const SERIES = { node: 'n/a', device: 'pump-2', metric: 'flow', unit: 'm3/h' };
const last = (age, value) => ({ time: at(age), received: at(age), value, quality: [] });

test('the catalogue takes what is newer, from whichever side it comes first', () => {
  const answer = [{ ...SERIES, count: 3, first: at(-20), last: last(0, 1) }];
  const known = withReadings(catalogOf(answer), [{ ...SERIES, last: last(5, 2) }]);
  const key = keyOf(SERIES);
  assert.equal(known.get(key).last.value, 2);
  assert.ok(known.get(key).live);
  assert.equal(catalogOf(answer, known).get(key).last.value, 2);
  assert.equal(withReadings(known, [{ ...SERIES, last: last(1, 9) }]).get(key).last.value, 2);
  const other = withReadings(known, [{ ...SERIES, device: 'pump-10', last: last(6, 3) }]);
  assert.deepEqual(devicesOf(other).map(({ id }) => id), ['pump-2', 'pump-10']);
  assert.notEqual(keyOf({ device: 'a-b', metric: 'c' }), keyOf({ device: 'a', metric: 'b-c' }));
  assert.ok(matches(SERIES, 'FLOW pump') && !matches(SERIES, 'tank'));
});

test('a device is silent when it missed several of its usual intervals', () => {
  const device = (every) => ({
    id: 'd', series: [{ ...SERIES, count: 11, first: at(-10 * every), last: last(0, 1) }],
  });
  assert.equal(silence(device(10), NOW + 60_000).silent, false);
  assert.equal(silence(device(10), NOW + 130_000).silent, true);
  assert.equal(silence(device(600), NOW + 1_000_000).silent, false);
  assert.equal(silence(device(600), NOW + 3_100_000).silent, true);
});

test('trouble comes first and rows do not jump', () => {
  const nodes = [['online', 'a'], ['never', 'b'], ['stale', 'ps-10'], ['stale', 'ps-9']]
    .map(([state, name]) => ({ state, site: 's', name }));
  const names = (alerted) => inOrder(nodes, alerted).map(nameOf);
  assert.deepEqual(names(), ['s/ps-9', 's/ps-10', 's/b', 's/a']);
  assert.deepEqual(names(new Set(['s/a'])), ['s/a', 's/ps-9', 's/ps-10', 's/b']);
  Object.assign(nodes[0], { behind: 1000 });
  nodes.push({ state: 'online', site: 's', name: 'c', clock_ahead_ms: -5000, behind: 999 });
  assert.deepEqual(names(), ['s/ps-9', 's/ps-10', 's/a', 's/c', 's/b']);
  assert.equal(isTroubled({ state: 'online', behind: 999, clock_ahead_ms: 1999 }), false);
});

test('gateways are filtered by site, words of their names, and how they are', () => {
  const nodes = [
    { site: 'north', name: 'ps-1', id: '92ab', label: 'Mill Road', state: 'online' },
    { site: 'south', name: 'ps-1', id: '11cd', label: null, state: 'stale' },
  ];
  const found = (query, alerted) => filtered(nodes, query, alerted).map(nameOf);
  assert.deepEqual(found({}), ['north/ps-1', 'south/ps-1']);
  assert.deepEqual(found({ site: 'south', q: '' }), ['south/ps-1']);
  assert.deepEqual(found({ q: 'MILL ps' }), ['north/ps-1']);
  assert.deepEqual(found({ q: '11c' }), ['south/ps-1']);
  assert.deepEqual(found({ state: 'online' }), ['north/ps-1']);
  assert.deepEqual(found({ state: 'trouble' }), ['south/ps-1']);
  assert.deepEqual(found({ state: 'trouble' }, new Set(['north/ps-1'])), found({}));
  assert.deepEqual(sitesOf(nodes), ['north', 'south']);
});

test('progress of a backlog is measured by its greatest', () => {
  assert.equal([5, 900, null, 400].reduce(greatestBehind, 0), 900);
  assert.equal([900, 0, 3].reduce(greatestBehind, 0), 3);
});

test('a problem speaks in one way, whatever came', async () => {
  const problem = { title: 'Bad', detail: 'no time', at: 'from', expected: 'RFC 3339' };
  const body = JSON.stringify(problem);
  const headers = { 'content-type': 'application/problem+json' };
  const told = await problemOf(new Response(body, { status: 400, headers }));
  assert.equal(told.words, 'no time (from). Expected: RFC 3339');
  assert.equal(told.status, 400);
  const bare = await problemOf(new Response('<html>', { status: 502, statusText: 'Bad Gateway' }));
  assert.equal(bare.words, 'Bad Gateway');
  assert.equal(new Problem({ status: 500 }).words, 'the node answered with status 500');
  assert.equal(path('/v1/series', { device: 'a&b', node: undefined }), '/v1/series?device=a%26b');
});
