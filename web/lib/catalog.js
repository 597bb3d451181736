// The series a page knows, with their last values: asked for once, then kept up to date by events.
// A series is (node, device, metric, unit); a changed unit is another series.

/** Longer than this without a word, and longer than `SILENT_INTERVALS`, is silence. */
const SILENT_MS = 120_000;
const SILENT_INTERVALS = 5;

export function keyOf({ node, device, metric, unit }) {
  return JSON.stringify([node ?? '', device, metric, unit ?? '']);
}

/** Whether `later` says something newer than `earlier`, by the node's receipt, then by time. */
function isNewer(later, earlier) {
  if (!earlier) return true;
  const received = Date.parse(later.received) - Date.parse(earlier.received);
  return received > 0 || (received === 0 && Date.parse(later.time) >= Date.parse(earlier.time));
}

/** The catalogue of the series of an answer; what events brought meanwhile is kept. */
export function catalogOf(list, known = new Map()) {
  const catalog = new Map();
  for (const series of list) {
    const key = keyOf(series);
    const before = known.get(key);
    const last = before?.last && !isNewer(series.last, before.last) ? before.last : series.last;
    catalog.set(key, { ...series, key, last, live: before?.live ?? false });
  }
  return catalog;
}

/** The catalogue after an event `readings`. */
export function withReadings(catalog, readings) {
  const next = new Map(catalog);
  for (const reading of readings) {
    const key = keyOf(reading);
    const before = next.get(key);
    if (isNewer(reading.last, before?.last)) {
      next.set(key, { ...before, ...reading, key, live: true });
    }
  }
  return next;
}

/** Devices in alphabetical order (`pump-2` before `pump-10`), each with its series. */
export function devicesOf(catalog) {
  const devices = new Map();
  for (const series of catalog.values()) {
    if (!devices.has(series.device)) devices.set(series.device, []);
    devices.get(series.device).push(series);
  }
  const order = new Intl.Collator('en', { numeric: true }).compare;
  for (const list of devices.values()) list.sort((a, b) => order(a.metric, b.metric));
  return [...devices].sort(([a], [b]) => order(a, b)).map(([id, series]) => ({ id, series }));
}

/** When a device was last heard, and whether that is longer ago than it usually is. */
export function silence(device, now) {
  const heard = Math.max(...device.series.map((series) => Date.parse(series.last.received)));
  const usual = Math.min(...device.series.map(interval));
  const bound = Math.max(SILENT_MS, Number.isFinite(usual) ? usual * SILENT_INTERVALS : 0);
  return { heard, silent: now - heard > bound };
}

/** The mean distance between readings, milliseconds; unknown from fewer than three. */
function interval({ count, first, last }) {
  if (!first || !(count > 2)) return Infinity;
  return (Date.parse(last.time) - Date.parse(first)) / (count - 1);
}

/** Whether every word of `text` is somewhere in the names of a series or the label of its device. */
export function matches(series, text, label = '') {
  const { node = '', device, metric } = series;
  const names = `${node ?? ''} ${device} ${metric} ${label}`.toLowerCase();
  return text.toLowerCase().split(/\s+/).every((word) => names.includes(word));
}
