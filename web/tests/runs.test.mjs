// What the page of workflows makes of what the node answers, without a browser.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Problem } from '../lib/api.js';
import {
  badgesOf, countsOf, faultsOf, gapOf, offsetOf, outcomeOf, parkedOf, shortRun, thenOf, timelineOf,
  typedOf, waitWords,
} from '../lib/runs.js';
import { pauseAfter } from '../lib/time.js';
import { OUTLINE, idOf, line, parkedRun, parkedToldRun, run, wait } from './workflows.mjs';

test('the part that is parked has the reason and the moment of its own line', () => {
  const found = parkedRun(1);
  // Of another part, later.
  found.history.push(line(5_000, 'parked', 'late', 9), line(4_000, 'asked', 'effect 2: http a', 9));
  const [parked] = found.waits;
  const { why, since, doing } = parkedOf(found, parked);
  assert.deepEqual([why, doing], ['unreachable: ps-017 does not answer', 'command stop of ps-017']);
  assert.equal(since, found.history[2].at);
  // A history that is cut has no such line: then its last step is the best that is known.
  assert.equal(parkedOf({ ...found, history: found.history.slice(0, 2) }, parked).since, found.stepped);
  assert.equal(parkedOf({ ...found, history: undefined }, parked).why, why);
});

test('what a hub knows to be parked has the line of what was parked last', () => {
  const found = parkedToldRun(1, 'north/ps-004');
  found.history.push(line(9_000, 'asked', 'effect 2: http a', 9));
  const [parked] = found.waits;
  const told = () => { const { since, line: at, doing } = parkedOf(found, parked); return [since, at, doing]; };
  assert.deepEqual(told(), [found.history[2].at, 5, 'command stop of ps-017']);
  found.history.push(line(8_000, 'parked', 'late', 9));
  assert.deepEqual(told(), [found.history[4].at, 9, 'http a']);
  found.history = [];
  assert.deepEqual(told(), [found.stepped, null, undefined]);
});

test('a wait is told by what it waits for, and whether its end fails', () => {
  const said = (change) => {
    const { what, ends, orElse } = waitWords(wait(change));
    return [what, ends, orElse];
  };
  assert.deepEqual(said({}), ['waits', 'until', false]);
  assert.deepEqual(said({ for: 'signal', text: 'waits for `a`, else fails with timeout' }), [
    'waits for `a`', 'until', true,
  ]);
  assert.deepEqual(said({ for: 'retry', text: 'tries a `http` again, attempt 2: refused' }), [
    'tries a `http` again, attempt 2: refused', 'at', false,
  ]);
  const effect = { for: 'effect', text: 'waits for a `command` to be done' };
  assert.equal(said(effect)[1], 'at most until');
});

test('what came of a decision is told of the part that it was about', () => {
  const told = (change, fiber = 0) => {
    const { text, tone } = outcomeOf(run(1, change), fiber);
    return [text, tone];
  };
  assert.deepEqual(told({}), ['it goes on, and waits', undefined]);
  const { waits } = parkedRun(1);
  const again = 'it is parked: unreachable: ps-017 does not answer';
  assert.deepEqual(told({ waits }), [again, 'alarm']);
  // Another part is parked: that is not what came of this one.
  assert.deepEqual(told({ waits }, 2), ['it goes on', undefined]);
  const undoing = { state: 'undoing', error: 'refused' };
  assert.deepEqual(told(undoing), ['what it did is being undone, and waits', 'warn']);
  assert.deepEqual(told({ state: 'undoing', waits }), [again, 'alarm']);
  const over = (state, error = null) => told({ state, error, waits: [] });
  assert.deepEqual(over('succeeded'), ['it has succeeded', 'good']);
  assert.deepEqual(over('failed', 'refused'), ['it has failed: refused', 'alarm']);
  assert.deepEqual(over('cancelled'), ['it is cancelled', undefined]);
});

test('what comes then is the line that follows where the part stands', () => {
  const lines = OUTLINE.lines.map((one, n) => ({ ...one, fibers: n === 0 ? [3] : [] }));
  assert.equal(thenOf({ lines }, 3), 'waits for 10m');
  assert.equal(thenOf({ lines }, 0), undefined);
  assert.equal(thenOf(null, 0), undefined);
  assert.equal(thenOf({ lines: [{ ...lines[4], fibers: [0] }] }, 0), undefined, 'nothing after the end');
});

test('the more time passed, the more room it has; an instant has none', () => {
  const spans = [0, 999, 1_000, 60_000, 3_600_000, 86_400_000, 8 * 86_400_000];
  assert.deepEqual(spans.map((ms) => gapOf(ms).size), [0, 0, 1, 2, 3, 4, 5]);
  assert.deepEqual(spans.map((ms) => gapOf(ms).told), [false, false, true, true, true, true, true]);
});

test('a line of time ends with now and what is next, or where the run ended', () => {
  const now = Date.now();
  const at = (ms) => new Date(now + ms).toISOString();
  const history = [{ at: at(-5_000), what: 'started', line: null, text: '' }];
  const waits = [wait({ until: at(90_000) }), wait({ fiber: 1, until: at(60_000) }), wait({ until: at(-1) })];
  const live = timelineOf(run(1, { history, waits }), now);
  assert.deepEqual(live.map(({ what, gap }) => [what, gap.ms]), [
    ['started', 0], ['now', 5_000], ['until', 60_000],
  ]);
  const over = timelineOf(run(1, { history, waits: [], state: 'failed' }), now);
  assert.deepEqual(over.map(({ what }) => what), ['started']);
  // The clock was set back in between: no time passed that one could draw.
  const back = [history[0], { ...history[0], at: at(-9_000), what: 'done' }];
  assert.equal(timelineOf(run(1, { history: back, state: 'failed' }), now)[1].gap.ms, 0);
});

test('what was typed becomes a value of its type, and nothing that it was not', () => {
  const typed = (type, text) => typedOf({ name: 'n', type }, text);
  assert.equal(typed('int', ' -4 '), -4);
  assert.equal(typed('decimal', '2.50'), 2.5);
  assert.equal(typed('bool', 'false'), false);
  assert.equal(typed('text', ' 12 '), ' 12 ');
  assert.equal(typed('int', ''), undefined);
  assert.throws(() => typed('int', 'ten'), /n: “ten” is no number/);
  assert.throws(() => typed('int', '9007199254740993'), /more than a browser can tell exactly/);
});

test('faults have a place, from the compiler and from what this node cannot do', () => {
  const diagnostics = [{ line: 2, column: 3, message: 'm', advice: 'a' }];
  assert.equal(faultsOf(new Problem({ status: 422, detail: 'm', diagnostics })), diagnostics);
  const other = new Problem({ status: 422, detail: 'it cannot do `emit`', at: 'line 12, column 5' });
  assert.deepEqual(faultsOf(other), [
    { line: 12, column: 5, message: 'it cannot do `emit`', advice: null },
  ]);
  assert.deepEqual(faultsOf(new Problem({ status: 503, detail: 'no', at: '/definition' })), []);
});

test('a place in a text is counted in characters, as the compiler does', () => {
  const text = 'a: 1\nb: 😀x\nc';
  assert.equal(text.slice(offsetOf(text, 2, 5)), 'x\nc');
  assert.equal(text.slice(offsetOf(text, 3, 1)), 'c');
  assert.equal(offsetOf(text, 9, 9), text.length);
});

test('small words: states, counts, ids, and how often is asked', () => {
  assert.deepEqual(badgesOf(parkedRun(1)).map(({ text }) => text), ['running', 'parked']);
  const counts = { counts: [{ workflow: 'a', version: '1', under_way: 2, waiting: 0, parked: 1 }] };
  assert.equal(countsOf(counts, { id: 'a', version: '1' }).under_way, 2);
  assert.equal(countsOf(counts, { id: 'a', version: '2' }).under_way, 0);
  assert.equal(countsOf(null, { id: 'a', version: '1' }).parked, 0);
  assert.equal(shortRun(idOf(12)), '…000012');
  assert.deepEqual([pauseAfter(20, 4_000), pauseAfter(900, 4_000)], [4_000, 9_000]);
});
