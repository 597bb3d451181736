// What the page of the broker asks of the node: totals and clients again and again, messages as
// they come. Messages go into the tree at once, but the page is drawn a few times a second only.

import { useCallback, useEffect, useRef, useState } from './ui.js';
import { path } from './api.js';
import { dropsOf, sampleOf, withSample } from './broker.js';
import { listen } from './events.js';
import { useAsked } from './hooks.js';
import { clock } from './time.js';
import { TopicTree } from './topics.js';

const STATUS_MS = 2_000;
const CLIENTS_MS = 4_000;
const DRAW_MS = 250;

/** Totals with what they were before, and the clients whose names contain `text`. */
export function useBroker(text) {
  const [state, set] = useState({
    status: null, samples: [], list: null, drops: new Map(), lostSince: null, problem: null,
  });
  const failed = (problem) => set((before) => {
    const lostSince = problem.status === 0 ? before.lostSince ?? Date.now() : before.lostSince;
    return { ...before, lostSince, problem };
  });
  useAsked('/v1/mqtt/status', STATUS_MS, (status) => {
    clock.observe(status.time);
    set((before) => ({
      ...before, status, samples: withSample(before.samples, sampleOf(status)), lostSince: null,
      problem: null,
    }));
  }, failed);
  const listed = (list) => set((before) => {
    const drops = new Map([...before.drops, ...dropsOf(list.clients, before.drops, clock.now())]);
    return { ...before, list, drops };
  });
  const url = path('/v1/mqtt/clients', { text: text || undefined });
  const reload = useAsked(url, CLIENTS_MS, listed, failed);
  return { ...state, reload };
}

const EMPTY = { link: 'connecting', problem: null, retained: null, leftOut: 0, missed: 0 };

/** The tree of the topics that a filter matches, from now on; while it is paused nothing is asked. */
export function useTopics(filter, paused) {
  const tree = useRef(new TopicTree());
  const [state, set] = useState(EMPTY);
  const [, draw] = useState(0);
  const redraw = useCallback(() => draw((n) => n + 1), []);
  const clear = useCallback(() => {
    const isReady = tree.current.isReady;
    tree.current = new TopicTree();
    tree.current.isReady = isReady;
    redraw();
  }, []);
  useEffect(clear, [filter]);
  useEffect(() => {
    const update = (part) => set((before) => ({ ...before, ...part }));
    if (paused) {
      update({ link: 'connecting' });
      return undefined;
    }
    let timer = null;
    set(EMPTY);
    const end = listen(path('/v1/mqtt/messages/events', { filter }), {
      onEvent(type, value) {
        if (type === 'message') tree.current.add(value);
        if (type === 'ready') {
          tree.current.ready();
          update({ retained: value.retained, leftOut: value.left_out });
        }
        if (type === 'missed') set((old) => ({ ...old, missed: old.missed + value.missed }));
        timer ??= setTimeout(() => {
          timer = null;
          redraw();
        }, DRAW_MS);
      },
      onState(link) {
        tree.current.begin();
        update(link === 'live' ? { link, problem: null } : { link });
      },
      onRefused: (problem) => update({ problem }),
    });
    return () => {
      end();
      clearTimeout(timer);
    };
  }, [filter, paused]);
  return { ...state, tree: tree.current, redraw, clear };
}
