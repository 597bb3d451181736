// Runs of workflows as people read them: what a run waits for, since when a part of it is parked
// and why, and its history as a line of time in which what passed between two moments is seen.

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** The states that one may ask for. */
export const STATES = [
  'parked', 'waiting', 'running', 'undoing', 'succeeded', 'failed', 'cancelled', 'forwarded',
];

const TONES = { succeeded: 'good', undoing: 'warn', failed: 'alarm' };

/** What is drawn of a state: words and a tone. */
export function badgesOf({ state, waits }) {
  const parked = waits.filter(isParked).length;
  const badges = [{ text: state, tone: TONES[state] }];
  if (parked > 0) badges.push({ text: parked > 1 ? `${parked} parked` : 'parked', tone: 'alarm' });
  return badges;
}

export const isParked = (wait) => wait.for === 'decision';

export const isOver = ({ state }) => (
  ['succeeded', 'failed', 'cancelled', 'forwarded'].includes(state)
);

/** With what a run fails or ended; of one that goes on, what was decided about is past. */
export const failureOf = ({ state, error }) => (state === 'running' ? null : error);

/** Tells runs apart: their ids begin with the time, so most of them begin alike. */
export const shortRun = (id) => `…${id.slice(-6)}`;

const REASON = /^waits for somebody to decide: /;
const EFFECT = /^effect \d+: /;

/**
 * Why a part is parked, since when, where, and what it was about to do; from the history of its
 * run. A hub does not know the line of a wait: there it is what was parked last.
 */
export function parkedOf(run, wait) {
  const lines = run.history ?? [];
  const parked = lines.findLast(({ what, line }) => (
    what === 'parked' && (wait.line === null || line === wait.line)
  ));
  const at = wait.line ?? parked?.line ?? null;
  const asked = lines.findLast(({ what, line }) => what === 'asked' && line === at);
  return {
    why: wait.text.replace(REASON, ''),
    since: parked?.at ?? run.stepped,
    line: at,
    doing: asked?.text.replace(EFFECT, ''),
  };
}

/** What was decided about a run so far, the newest first. */
export const decisionsOf = (run) => (
  (run.history ?? []).filter((one) => one.what === 'decided').reverse()
);

const OR_ELSE = ', else fails with timeout';
/** How the end of a wait is told where it is no plain `until`. */
const ENDS = { effect: 'at most until', retry: 'at' };

/** What a wait is for: `what`, `ends` with the moment after it, and whether that moment fails. */
export function waitWords(wait) {
  const text = wait.text.replace(REASON, 'is parked: ').replace(OR_ELSE, '');
  return {
    what: wait.for === 'timer' ? 'waits' : text,
    ends: ENDS[wait.for] ?? 'until',
    orElse: wait.text.endsWith(OR_ELSE),
  };
}

/** With what a part goes on, in a few words, from the outline with the places of its run. */
export function thenOf(outline, fiber) {
  const line = outline?.lines.find(({ fibers }) => fibers?.includes(fiber));
  return outline?.lines[line?.next]?.text.split(';')[0];
}

/** How much time is drawn between two lines of history, 0 to 5, and whether it is told. */
export function gapOf(ms) {
  const steps = [SECOND, MINUTE, HOUR, DAY, 7 * DAY];
  const size = steps.filter((step) => ms >= step).length;
  return { ms, size, told: ms >= SECOND };
}

/**
 * History as a line of time: `{ at, what, line, text }`, each with the `gap` before it. A run that
 * is not over ends with now, and with the next moment that it waits for.
 */
export function timelineOf(run, now) {
  const moments = run.history.map((one) => ({ ...one }));
  if (!isOver(run)) {
    moments.push({ at: new Date(now).toISOString(), what: 'now', line: null, text: '' });
    const ends = run.waits.filter(({ until }) => until && Date.parse(until) > now);
    const next = ends.sort((a, b) => Date.parse(a.until) - Date.parse(b.until))[0];
    if (next) {
      moments.push({ at: next.until, what: 'until', line: next.line, text: waitWords(next).what });
    }
  }
  return moments.map((one, n) => {
    const before = n > 0 ? Date.parse(moments[n - 1].at) : Date.parse(one.at);
    return { ...one, gap: gapOf(Math.max(0, Date.parse(one.at) - before)) };
  });
}

/** How many runs a version has: under way, waiting for room, parked. */
export function countsOf(counts, { id, version }) {
  const none = { under_way: 0, waiting: 0, parked: 0 };
  const is = (one) => one.workflow === id && one.version === version;
  return counts?.counts.find(is) ?? none;
}

/** What stands in a field, as the node takes it; undefined where nothing was typed. */
export function typedOf({ name, type }, typed) {
  if (type === 'text') return typed;
  const text = typed.trim();
  if (text === '') return undefined;
  if (type === 'bool') return text === 'true';
  const number = Number(text);
  if (!Number.isFinite(number)) throw new Error(`${name}: “${text}” is no number`);
  if (Number.isInteger(number) && !Number.isSafeInteger(number)) {
    throw new Error(`${name}: ${text} is more than a browser can tell exactly`);
  }
  return number;
}

/** The type of a field that shows a value. */
export const typeOf = (value) => (
  typeof value === 'boolean' ? 'bool' : typeof value === 'number' ? 'decimal' : 'text'
);

/**
 * What became of a run, of which part `fiber` was decided about: in words, how they are drawn, and
 * until when it waits. Of a part that is gone the run goes on with others.
 */
export function outcomeOf(run, fiber) {
  const { state, error, waits } = run;
  const tone = TONES[state];
  if (isOver(run)) return { text: `it ${ENDED[state]}${error ? `: ${error}` : ''}`, tone };
  const wait = waits.find((one) => one.fiber === fiber);
  if (wait && isParked(wait)) return { text: `it ${waitWords(wait).what}`, tone: 'alarm' };
  const doing = state === 'undoing' ? 'what it did is being undone' : 'it goes on';
  if (!wait) return { text: doing, tone };
  const { what, ends } = waitWords(wait);
  return { text: `${doing}, and ${what}`, tone, ends, until: wait.until };
}

const ENDED = {
  succeeded: 'has succeeded', failed: 'has failed', cancelled: 'is cancelled',
  forwarded: 'was handed to the hub',
};

const PLACE = /^line (\d+), column (\d+)$/;

/** What is wrong with a definition, and where, from what the node answered. */
export function faultsOf(problem) {
  if (problem.diagnostics) return problem.diagnostics;
  const [, line, column] = PLACE.exec(problem.at ?? '') ?? [];
  if (line === undefined) return [];
  return [{ line: Number(line), column: Number(column), message: problem.message, advice: null }];
}

/** Where a line and a column, both from 1, are in a text; columns are counted in characters. */
export function offsetOf(text, line, column) {
  const lines = text.split('\n');
  const before = lines.slice(0, line - 1).reduce((sum, one) => sum + one.length + 1, 0);
  const start = [...(lines[line - 1] ?? '')].slice(0, column - 1).join('').length;
  return Math.min(before + start, text.length);
}
