// A chart around uPlot: a line, or a band between least and greatest with the mean as a line. The
// chart is made once and fed anew; its colours come from the style sheet, so it follows the light
// or dark of the system. Where nothing was measured the line breaks and the ground is shaded.

import uPlot from '../vendor/uplot.js';
import { classes, html, useEffect, useRef, useState } from './ui.js';
import { clock, stamp, tickLabels as labels } from './time.js';
import { unitText, valueText } from './units.js';

const HEIGHT = 230;
/** Of a chart beside others, for which the sheet has a class. */
const SMALL = 130;
const FONT = '12px system-ui, sans-serif';

/**
 * `kind`: `line` with data [times, values], or `band` with [times, least, greatest, mean];
 * `span`: [from, to] in seconds; `gaps`: spans to shade; `rate` where values begin at zero, as in
 * the small charts beside others.
 */
export function Chart({ kind, data, span, gaps = [], unit, stepped = false, label, rate = false }) {
  const height = rate ? SMALL : HEIGHT;
  const host = useRef(null);
  const readout = useRef(null);
  const live = useRef({});
  Object.assign(live.current, { span, gaps });
  const theme = useTheme();
  useEffect(() => {
    const say = (text) => {
      readout.current.textContent = text;
    };
    const width = host.current.clientWidth;
    const options = optionsFor({
      kind, stepped, unit, width, height, rate, live: live.current, say,
    });
    const chart = new uPlot(options, data, host.current);
    live.current.chart = chart;
    const sized = new ResizeObserver(() => {
      const wide = host.current?.clientWidth ?? 0;
      if (wide > 0 && wide !== chart.width) chart.setSize({ width: wide, height });
    });
    sized.observe(host.current);
    return () => {
      sized.disconnect();
      chart.destroy();
    };
  }, [kind, stepped, unit, theme, rate]);
  useEffect(() => {
    live.current.chart?.setData(data);
  }, [data, span[0], span[1]]);
  return html`
    <figure class="chart">
      <figcaption><span>${label}</span><output ref=${readout}></output></figcaption>
      <div class=${classes('plot', rate && 'small')} ref=${host} role="img" aria-label=${summary(label, kind, data, unit)}></div>
    </figure>`;
}

/** Counts up whenever the system turns light or dark. */
function useTheme() {
  const [theme, set] = useState(0);
  useEffect(() => {
    const dark = matchMedia('(prefers-color-scheme: dark)');
    const changed = () => set((n) => n + 1);
    dark.addEventListener('change', changed);
    return () => dark.removeEventListener('change', changed);
  }, []);
  return theme;
}

/** What somebody who cannot see the chart should know. */
function summary(label, kind, data, unit) {
  const all = data.slice(1).flat().filter((value) => value !== null && Number.isFinite(value));
  if (all.length === 0) return `${label}: no data`;
  const low = all.reduce((least, value) => Math.min(least, value));
  const high = all.reduce((greatest, value) => Math.max(greatest, value));
  const what = `${data[0].length} ${kind === 'band' ? 'windows' : 'points'}`;
  return `${label}: ${what} from ${valueText(low)} to ${valueText(high)} ${unitText(unit)}`;
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  return {
    line: of('--line'), band: of('--band'), text: of('--muted'), grid: of('--grid'),
    gap: of('--gap'), gapEdge: of('--gap-edge'),
  };
}

function optionsFor({ kind, stepped, unit, width, height, rate, live, say }) {
  const colour = colours();
  return {
    width,
    height,
    padding: [10, 8, 0, 0],
    legend: { show: false },
    cursor: { drag: { x: false, y: false }, points: { size: 7 } },
    scales: { x: { time: true, range: () => live.span }, y: { range: rate ? rateRange : yRange } },
    axes: axes(colour),
    ...(kind === 'band' ? bandSeries(colour) : lineSeries(colour, stepped)),
    hooks: {
      drawClear: [(chart) => shade(chart, live.gaps, colour)],
      setCursor: [(chart) => say(readoutText(chart, kind, unit))],
    },
  };
}

/** Some air above and below; a flat line gets a scale, too. */
function yRange(_, least, greatest) {
  if (least === null || !Number.isFinite(least)) return [0, 1];
  const air = (greatest - least) * 0.08 || Math.max(Math.abs(least) * 0.02, 0.5);
  return [least - air, greatest + air];
}

/** From zero, and to no less than one in a second. */
const rateRange = (_, least, greatest) => [0, Math.max(1, (greatest ?? 0) * 1.1)];

function axes(colour) {
  const common = {
    stroke: colour.text,
    font: FONT,
    grid: { stroke: colour.grid, width: 1 },
    ticks: { show: false },
  };
  const widthOf = (_, texts) => {
    const longest = Math.max(0, ...(texts ?? []).map((text) => text.length));
    return Math.max(36, 14 + longest * 7);
  };
  return [
    { ...common, size: 44, space: 70, values: (_, ticks, axis, room, step) => labels(ticks, step) },
    { ...common, size: widthOf, values: (_, ticks) => ticks.map(valueText) },
  ];
}

function lineSeries(colour, stepped) {
  const paths = stepped ? uPlot.paths.stepped({ align: 1 }) : undefined;
  return { series: [{}, { stroke: colour.line, width: 1.5, paths, points: { size: 4 } }] };
}

function bandSeries(colour) {
  const edge = { stroke: colour.band, width: 1, points: { show: false } };
  return {
    series: [{}, edge, edge, { stroke: colour.line, width: 1.5, points: { size: 4 } }],
    bands: [{ series: [2, 1], fill: colour.band }],
  };
}

function shade(chart, gaps, colour) {
  const { ctx, bbox } = chart;
  ctx.save();
  for (const [from, to] of gaps) {
    const left = Math.max(bbox.left, chart.valToPos(from, 'x', true));
    const right = Math.min(bbox.left + bbox.width, chart.valToPos(to, 'x', true));
    if (right <= left) continue;
    ctx.fillStyle = colour.gap;
    ctx.fillRect(left, bbox.top, right - left, bbox.height);
    ctx.fillStyle = colour.gapEdge;
    ctx.fillRect(left, bbox.top, 1, bbox.height);
    ctx.fillRect(right - 1, bbox.top, 1, bbox.height);
  }
  ctx.restore();
}

function readoutText(chart, kind, unit) {
  const at = chart.cursor.idx;
  if (at === null || at === undefined || chart.data[0].length === 0) return '';
  const values = chart.data.slice(1).map((column) => column[at]);
  const time = stamp(new Date(chart.data[0][at] * 1000).toISOString());
  if (values.some((value) => value === null || value === undefined)) return `${time}  no data`;
  const of = (value) => `${valueText(value)} ${unitText(unit)}`.trim();
  return kind === 'band'
    ? `${time}  ${of(values[2])} (${valueText(values[0])} to ${valueText(values[1])})`
    : `${time}  ${of(values[0])}`;
}

/** `[from, to]` in seconds that ends now. */
export function spanOf(rangeMs) {
  const now = clock.now();
  return [(now - rangeMs) / 1000, now / 1000];
}
