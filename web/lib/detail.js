// One series close up: its chart over a range that ends now, its rollups, its latest readings. The
// chart asks for thinned-out points once and appends what events bring. While a backlog is on its
// way (`filling`) it asks again every two seconds, so a gap is seen filling up, and once more when
// the last of it has come.

import { classes, html, useCallback, useEffect, useMemo, useRef, useState } from './ui.js';
import { get, path } from './api.js';
import { Chart, spanOf } from './chart.js';
import { useAnswer, useNow } from './hooks.js';
import { Age, Flags, When } from './parts.js';
import { breakGaps, columnFloor, fromAnswer, gapSpans, gapThreshold, withPoint } from './points.js';
import { DAY, clock, offset } from './time.js';
import { unitText, valueText } from './units.js';

const POINTS = 600;
const REFILL_MS = 2_000;
const ROLLUPS_MS = 30_000;
/** After so many appended points a thinned-out answer is cheaper to draw. */
const APPENDED_MAX = 600;
const LATEST = 20;

export const RANGES = [
  { id: '15m', name: '15 min', ms: DAY / 96 },
  { id: '1h', name: '1 h', ms: DAY / 24 },
  { id: '24h', name: '24 h', ms: DAY },
  { id: '7d', name: '7 d', ms: 7 * DAY },
  { id: '30d', name: '30 d', ms: 30 * DAY },
];

/** `series` of the catalogue; `range` an id of `RANGES`; `node` where the hub has several. */
export function SeriesDetail({ series, node, range, setRange, filling = false }) {
  const { value, quality, time } = series.last;
  const chosen = RANGES.find(({ id }) => id === range) ?? RANGES[1];
  const isText = typeof value === 'string';
  return html`
    <div class="series-detail">
      <div class="now">
        <strong class="value">${valueText(value)}</strong>
        <span class="unit">${unitText(series.unit)}</span>
        <${Flags} quality=${quality} />
        <span class="muted"><${Age} time=${time} /></span>
      </div>
      ${!isText && html`
        <${Choice} label="Range" options=${RANGES} chosen=${chosen.id} choose=${setRange} />
        <${Live} key=${`${series.key} ${chosen.id}`} series=${series} node=${node} range=${chosen}
          filling=${filling} />
        <${Rollups} key=${series.key} series=${series} node=${node} range=${chosen} />`}
      <${Latest} key=${`latest ${series.key}`} series=${series} node=${node} open=${isText} />
    </div>`;
}

/** Buttons of which one is down. */
export function Choice({ label, options, chosen, choose }) {
  return html`
    <div class="choice" role="group" aria-label=${label}>
      ${options.map(({ id, name }) => html`
        <button key=${id} aria-pressed=${id === chosen ? 'true' : 'false'}
          class=${classes(id === chosen && 'down')} onClick=${() => choose(id)}>${name}</button>`)}
    </div>`;
}

const named = ({ device, metric, unit }, node) => ({ device, metric, unit, node });
const since = (ms) => new Date(clock.now() - ms).toISOString();

function Live({ series, node, range, filling }) {
  const { points, floor, problem } = usePoints(series, node, range, filling);
  const now = useNow(range.ms >= DAY ? 10_000 : 1_000);
  const span = useMemo(() => spanOf(range.ms), [range.ms, now]);
  const drawn = useMemo(() => {
    const threshold = gapThreshold(points[0], floor);
    return { data: breakGaps(points, threshold), threshold };
  }, [points, floor]);
  if (problem) return html`<p class="alarm-text" role="alert">${problem.words}</p>`;
  const { data, threshold } = drawn;
  const gaps = gapSpans(points[0], threshold, points[0][0], span[1]);
  return html`
    <${Chart} kind="line" data=${data} span=${span} gaps=${gaps} unit=${series.unit}
      stepped=${typeof series.last.value === 'boolean'} label=${`Readings, times in ${offset()}`} />
    ${points[0].length === 0 && html`<p class="muted">${filling
      ? 'Nothing of this range is here yet.' : 'Nothing was measured in this range.'}</p>`}`;
}

/** The points of a range, with those that arrive while it is looked at. */
function usePoints(series, node, range, filling) {
  const [state, set] = useState({ points: [[], []], floor: 0, problem: null });
  const appended = useRef(0);
  const ask = useCallback(async (signal) => {
    const params = { ...named(series, node), from: since(range.ms), points: POINTS };
    try {
      const answer = await get(path('/v1/readings', params), signal);
      const spanS = (Date.parse(answer.to) - Date.parse(answer.from)) / 1000;
      appended.current = 0;
      const floor = columnFloor(spanS, POINTS);
      set({ points: fromAnswer(answer.points), floor, problem: null });
    } catch (problem) {
      if (problem.name !== 'AbortError') set((before) => ({ ...before, problem }));
    }
  }, [series.key, node, range.ms]);
  useRefill(ask, filling);
  useEffect(() => {
    const { time, value } = series.last;
    if (!series.live || typeof value === 'string') return;
    appended.current += 1;
    if (appended.current > APPENDED_MAX) {
      ask();
      return;
    }
    const from = (clock.now() - range.ms) / 1000;
    set((before) => {
      const points = withPoint(before.points, Date.parse(time) / 1000, Number(value), from);
      return { ...before, points };
    });
  }, [series.last]);
  return state;
}

/** Asks at once, every two seconds while `filling`, and once when that ends. */
function useRefill(ask, filling) {
  useEffect(() => {
    const controller = new AbortController();
    ask(controller.signal);
    let timer = null;
    const again = async () => {
      await ask(controller.signal);
      if (!controller.signal.aborted) timer = setTimeout(again, REFILL_MS);
    };
    if (filling) timer = setTimeout(again, REFILL_MS);
    return () => {
      controller.abort();
      clearTimeout(timer);
    };
  }, [ask, filling]);
}

const WIDTHS = [{ id: '5m', name: '5 min' }, { id: '1h', name: '1 h' }];

function Rollups({ series, node, range }) {
  const [wanted, setWanted] = useState(null);
  const width = wanted ?? (range.ms > DAY ? '1h' : '5m');
  // A quarter of an hour holds three windows of five minutes: too few to see anything.
  const shown = Math.max(range.ms, width === '1h' ? DAY : DAY / 4);
  const tick = Math.floor(useNow(ROLLUPS_MS) / ROLLUPS_MS);
  const url = useMemo(() => path('/v1/rollups', {
    ...named(series, node), width, from: since(shown), limit: 10_000,
  }), [series.key, node, width, shown, tick]);
  const { answer, problem } = useKept(url);
  const data = useMemo(() => windowsOf(answer), [answer]);
  const known = data[0].filter((_, at) => data[1][at] !== null);
  const missing = gapSpans(known, answer ? answer.width_s * 1.5 : 0, known[0], known.at(-1));
  return html`
    <section class="rollups">
      <div class="row">
        <h3>Rollups</h3>
        <${Choice} label="Window" options=${WIDTHS} chosen=${width} choose=${setWanted} />
      </div>
      ${problem && html`<p class="alarm-text" role="alert">${problem.words}</p>`}
      ${data[0].length > 0 && html`
        <${Chart} kind="band" data=${data} span=${spanOf(shown)} unit=${series.unit} gaps=${missing}
          label="Mean between least and greatest" />`}
      ${answer && data[0].length === 0 && html`
        <p class="muted">No window is complete yet; the first appears after ${width === '1h'
          ? 'an hour' : 'five minutes'}.</p>`}
    </section>`;
}

/** The last answer stays until the next is there, so that a chart does not blink. */
function useKept(url) {
  const { answer, problem } = useAnswer(url);
  const kept = useRef(null);
  if (answer) kept.current = answer;
  return { answer: kept.current, problem };
}

/** The windows as [middle, least, greatest, mean], broken where some are missing. */
export function windowsOf(answer) {
  const windows = (answer?.nodes ?? []).flatMap((one) => one.windows);
  const out = [[], [], [], []];
  let end = null;
  for (const window of windows) {
    const [start, stop] = [Date.parse(window.start) / 1000, Date.parse(window.end) / 1000];
    if (end !== null && start > end) {
      [(end + start) / 2, null, null, null].forEach((value, at) => out[at].push(value));
    }
    const row = [(start + stop) / 2, window.min, window.max, window.mean];
    row.forEach((value, at) => out[at].push(value));
    end = stop;
  }
  return out;
}

function Latest({ series, node, open }) {
  const [isOpen, setOpen] = useState(open);
  const url = isOpen && path('/v1/readings', {
    ...named(series, node), from: since(30 * DAY).slice(0, 13).concat(':00:00Z'),
    limit: LATEST, order: 'desc',
  });
  const { answer, problem } = useAnswer(url, [series.last.received]);
  const readings = answer?.readings ?? [];
  return html`
    <details open=${isOpen} onToggle=${(event) => setOpen(event.currentTarget.open)}>
      <summary>Latest readings</summary>
      ${problem && html`<p class="alarm-text" role="alert">${problem.words}</p>`}
      ${answer && html`
        <table aria-label="Latest readings">
          <thead><tr><th scope="col">Time</th><th scope="col" class="number">Value</th>
            <th scope="col">Received</th><th scope="col">Quality</th></tr></thead>
          <tbody>${readings.map((reading) => html`
            <tr><td><${When} time=${reading.time} whole /></td>
              <td class="number">${valueText(reading.value)} ${unitText(series.unit)}</td>
              <td><${Age} time=${reading.received} /></td>
              <td><${Flags} quality=${reading.quality} /></td></tr>`)}</tbody>
        </table>`}
    </details>`;
}
