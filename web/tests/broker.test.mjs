// What the page of the broker computes, without a browser: the tree of topics, rates, troubles.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  clientsInOrder, curveOf, dropsOf, droppedLately, rateText, ratesOf, sampleOf, troublesOf,
  withSample,
} from '../lib/broker.js';
import { TopicTree, payloadLine, payloadText } from '../lib/topics.js';
import { client, message, retained, site, totals } from './broker.mjs';
import { iso } from './fixtures.mjs';

const paths = (tree, most = 100) => tree.lines(most).shown.map(({ path }) => path);

function treeOf(messages, most) {
  const tree = new TopicTree(most);
  tree.begin();
  tree.ready();
  for (const one of messages) tree.add(one);
  return tree;
}

test('topics stand below their levels, empty ones and odd names included', () => {
  const names = ['pump/10', 'pump/2', 'pump', '/lead', 'a//b', '__proto__/x', 'constructor'];
  const tree = treeOf(names.map((topic) => message(topic, '1')));
  assert.deepEqual(paths(tree), [
    '', '/lead', '__proto__', '__proto__/x', 'a', 'a/', 'a//b', 'constructor', 'pump', 'pump/2',
    'pump/10',
  ]);
  const pump = tree.find('pump');
  assert.deepEqual([pump.topics, pump.messages, pump.last.text], [3, 3, '1']);
  assert.equal(tree.find('pump/3'), undefined);
  assert.equal(tree.find('none/at/all'), undefined);
  pump.isOpen = false;
  assert.equal(tree.lines(100).total, 9);
  assert.deepEqual(paths(tree, 2), ['', '/lead']);
});

test('a tree that is full counts what it leaves out and goes on with what it has', () => {
  const tree = treeOf([message('a/b', '1'), message('c', '1'), message('c/d', '1')], 3);
  assert.deepEqual([tree.levels, tree.leftOut], [3, 1]);
  tree.add(message('x/y/z', '1'));
  tree.add(message('a/b', '2'));
  assert.deepEqual([tree.levels, tree.leftOut, tree.find('a/b').last.text], [3, 2, '2']);
});

test('a small tree is open at first, a large one is not', () => {
  const tree = treeOf(Array.from({ length: 300 }, (_, n) => message(`site/${n}/temp`, '1')));
  assert.ok(tree.lines(1_000).total < 400, 'levels that came late are closed');
  tree.openAll(true);
  assert.equal(tree.lines(1_000).total, 601);
  tree.openAll(false);
  assert.deepEqual(paths(tree), ['site']);
});

// A stream that is lost begins anew with what is retained: each of those was counted again, and the
// last value of a topic went back to the one that was retained.
test('what is retained is no message of now, and what is retained no more loses its mark', () => {
  const tree = treeOf([]);
  const stream = (...kept) => {
    tree.begin();
    kept.forEach((one) => tree.add(one));
    tree.ready();
  };
  stream(retained('a', 'old'), retained('b', 'old'));
  tree.add(message('a', 'new'));
  stream(retained('a', 'old'));
  assert.deepEqual([tree.root.messages, tree.root.topics], [1, 2]);
  assert.deepEqual(['a', 'b'].map((topic) => tree.find(topic).isRetained), [true, false]);
  assert.equal(tree.find('a').last.text, 'new');
  tree.add(message('a', '', { retain: true }));
  assert.equal(tree.find('a').isRetained, false);
});

test('payloads are lines: what cannot be seen by its sign, bytes as digits', () => {
  assert.equal(payloadLine(message('a', 'one\r\ntwo\0')), 'one␍␊two␀');
  assert.equal(payloadLine(message('a', 'x'.repeat(500))).length, 161);
  assert.equal(payloadLine(message('a', 'begin', { cut: true })), 'begin…');
  const bytes = { topic: 'a', base64: '/wA=', bytes: 2, cut: false };
  assert.equal(payloadLine(bytes), 'ff 00');
  assert.equal(payloadLine({ ...bytes, bytes: 0 }), '');
  const long = { ...bytes, base64: Buffer.alloc(100).toString('base64'), bytes: 100 };
  assert.ok(payloadText(long).endsWith('00 …'));
  assert.equal(payloadText(message('a', 'one\ntwo')), 'one\ntwo');
});

const at = (up, count, dropped = 0) => ({
  at: 1_000_000 + up, up, in: count, out: 2 * count, inQos: [count, 0, 0], outQos: [0, 2 * count, 0],
  inBytes: 10 * count, outBytes: 20 * count, dropped,
});

test('rates are of the last seconds, and begin anew with the node', () => {
  let samples = [];
  for (let up = 0; up <= 20_000; up += 2_000) samples = withSample(samples, at(up, up / 10));
  const rates = ratesOf(samples);
  assert.deepEqual([rates.in, rates.out, rates.inBytes], [100, 200, 1_000]);
  assert.deepEqual([rates.inQos, rates.outQos], [[100, 0, 0], [0, 200, 0]]);
  assert.deepEqual(curveOf(samples, 'in')[1], Array(10).fill(100));
  assert.equal(withSample(samples, samples.at(-1)), samples, 'the same answer twice says nothing');
  const again = withSample(samples, at(500, 3));
  assert.deepEqual([again.length, ratesOf(again), droppedLately(again)], [1, null, 0]);
  assert.equal(withSample(samples, at(615_000, 9_000)).length, 4, 'ten minutes are kept');
});

test('rates read as people say them', () => {
  const cases = { 0: '0', 0.01: 'under 0.1', 0.25: '0.3', 9.94: '9.9', 118.4: '118' };
  for (const [number, text] of Object.entries(cases)) assert.equal(rateText(Number(number)), text);
});

test('what was dropped is of all reasons that a client feels', () => {
  const sample = sampleOf(totals({
    dropped: { full: 1, expired: 2, too_large: 4, lost: 8, unseen: 16 },
  })());
  assert.equal(sample.dropped, 15, 'what a page missed no client did');
});

test('trouble comes first, the gravest before the others', () => {
  const now = Date.now();
  const clients = site();
  const before = dropsOf(clients, new Map(), now);
  clients[88].dropped += 5;
  const drops = dropsOf(clients, before, now);
  const known = { queueMax: 64 << 20, drops, now };
  const found = clientsInOrder(clients, known);
  assert.deepEqual(found.slice(0, 6).map((one) => [one.client, one.troubles[0]?.text]), [
    ['pump-089', 'losing messages'], ['pump-018', 'queue nearly full'],
    ['pump-121', 'messages wait'], ['pump-064', 'not heard'], ['pump-001', undefined],
    ['pump-002', undefined],
  ]);
  assert.equal(troublesOf(clients[88], { ...known, now: now + 6 * 60_000 })[0].text, 'has lost messages');
  const lost = troublesOf(client('a', { dropped: 3 }), { ...known, drops: new Map() });
  assert.deepEqual(lost.map(({ text }) => text), ['has lost messages']);
  const away = client('a', { connected: false, last_packet: iso(-9e6) });
  assert.deepEqual(troublesOf(away, known), [], 'to be away is no trouble');
  assert.equal(troublesOf(client('a', { memory_bytes: 500_000 }), known)[0].tone, 'warn');
});
