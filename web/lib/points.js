// Points of a chart: times in seconds since 1970 and values, in two arrays as uPlot wants them.
// Where data is missing the line must break, so a point without a value is put into each gap.

/** A gap is a distance beyond this many usual intervals. */
const USUAL = 5;
/** An answer holds at most this many points per column of pixels it was thinned out to. */
const PER_COLUMN = 4;

export function median(numbers) {
  if (numbers.length === 0) return 0;
  const sorted = Float64Array.from(numbers).sort();
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The distance in seconds above which two neighbouring points have a gap between them. */
export function gapThreshold(times, floor = 0) {
  const steps = [];
  for (let i = 1; i < times.length; i += 1) {
    if (times[i] > times[i - 1]) steps.push(times[i] - times[i - 1]);
  }
  return Math.max(USUAL * median(steps), floor);
}

/** How far apart neighbours of a thinned-out answer may be without anything missing. */
export function columnFloor(spanS, points) {
  return 1.1 * (spanS / (points / PER_COLUMN));
}

/** The same points with one without a value inside each gap. */
export function breakGaps([times, values], threshold = gapThreshold(times)) {
  const [outTimes, outValues] = [[], []];
  for (let i = 0; i < times.length; i += 1) {
    const step = i > 0 ? times[i] - times[i - 1] : 0;
    if (threshold > 0 && step > threshold) {
      outTimes.push(times[i - 1] + step / 2);
      outValues.push(null);
    }
    outTimes.push(times[i]);
    outValues.push(values[i]);
  }
  return [outTimes, outValues];
}

/** The spans `[from, to]` without data, those at the ends of `[from, to]` included. */
export function gapSpans(times, threshold, from, to) {
  if (times.length === 0) return [];
  const known = [from, ...times, to];
  const spans = [];
  for (let i = 1; i < known.length; i += 1) {
    if (threshold > 0 && known[i] - known[i - 1] > threshold) spans.push([known[i - 1], known[i]]);
  }
  return spans;
}

/** Points of an answer, `[["RFC 3339", number], ...]`, by time. */
export function fromAnswer(points) {
  const times = points.map(([time]) => Date.parse(time) / 1000);
  return [times, points.map(([, value]) => Number(value))];
}

/** With one more point, which may come late or twice; nothing older than `from` is kept. */
export function withPoint([times, values], time, value, from) {
  let at = times.length;
  while (at > 0 && times[at - 1] > time) at -= 1;
  const known = at > 0 && times[at - 1] === time;
  const start = times.findIndex((t) => t >= from);
  const cut = start < 0 ? times.length : start;
  if (known) return [times.slice(cut), values.slice(cut)];
  const [newTimes, newValues] = [times.slice(), values.slice()];
  newTimes.splice(at, 0, time);
  newValues.splice(at, 0, value);
  return [newTimes.slice(cut), newValues.slice(cut)];
}
