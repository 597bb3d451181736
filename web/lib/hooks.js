// What the pages' components share: the passing of time, the address bar as state, and the feed of
// events with asking again whenever the stream was lost or stayed silent.

import { useCallback, useEffect, useRef, useState } from './ui.js';
import { get, path } from './api.js';
import { catalogOf, withReadings } from './catalog.js';
import { listen } from './events.js';
import { clock, pauseAfter } from './time.js';

/** Events are taken together for this long, so a busy site redraws a few times a second only. */
const GATHER_MS = 250;
/** The state is asked for when no event has told it for this long. */
const POLL_MS = 5_000;
const SERIES_LIMIT = 20_000;

/** The node's time, anew every `every` milliseconds. */
export function useNow(every = 1000) {
  const [now, set] = useState(clock.now());
  useEffect(() => {
    const timer = setInterval(() => set(clock.now()), every);
    return () => clearInterval(timer);
  }, [every]);
  return now;
}

/** What the address bar says after `#`, as names and values, and the way to change it. */
export function useHash() {
  const read = () => Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  const [values, set] = useState(read);
  useEffect(() => {
    const changed = () => set(read());
    addEventListener('hashchange', changed);
    return () => removeEventListener('hashchange', changed);
  }, []);
  const go = useCallback((next) => {
    const given = Object.entries(next).filter(([, value]) => value !== undefined);
    const hash = new URLSearchParams(given).toString();
    history.pushState(null, '', `${location.pathname}${location.search}${hash && `#${hash}`}`);
    set(read());
  }, []);
  return [values, go];
}

/**
 * What the address says after `?`, as names and values, and the way to change some of them. What is
 * typed there makes no step for the back button, and what is behind `#` stays.
 */
export function useQuery() {
  const [values, set] = useState(() => Object.fromEntries(new URLSearchParams(location.search)));
  useEffect(() => {
    const changed = () => set(Object.fromEntries(new URLSearchParams(location.search)));
    addEventListener('popstate', changed);
    return () => removeEventListener('popstate', changed);
  }, []);
  const change = useCallback((part) => {
    const before = Object.fromEntries(new URLSearchParams(location.search));
    const given = Object.entries({ ...before, ...part }).filter(([, value]) => value);
    const query = new URLSearchParams(given).toString();
    history.replaceState(null, '', `${location.pathname}${query && `?${query}`}${location.hash}`);
    set(Object.fromEntries(given));
  }, []);
  return [values, change];
}

/** An answer that is asked for again when `deps` change or `reload` is called. */
export function useAnswer(url, deps = []) {
  const [state, set] = useState({ url: null, answer: null, problem: null });
  const [round, setRound] = useState(0);
  useEffect(() => {
    if (!url) return undefined;
    const controller = new AbortController();
    get(url, controller.signal).then(
      (answer) => set({ url, answer, problem: null }),
      (problem) => {
        if (problem.name !== 'AbortError') set({ url, answer: null, problem });
      },
    );
    return () => controller.abort();
  }, [url, round, ...deps]);
  const reload = useCallback(() => setRound((n) => n + 1), []);
  const current = state.url === url ? state : { answer: null, problem: null };
  return { ...current, reload };
}

/**
 * Asks at once and then every so often, one question at a time: more rarely where answers take
 * long, so that a page that stays open is no burden.
 */
export function useAsked(url, every, answered, failed) {
  const [round, setRound] = useState(0);
  useEffect(() => {
    if (!url) return undefined;
    let timer = null;
    const controller = new AbortController();
    const ask = async () => {
      const began = performance.now();
      try {
        answered(await get(url, controller.signal));
      } catch (problem) {
        if (problem.name === 'AbortError') return;
        failed(problem);
        // Somebody signs in again, and what is not there does not come back by itself.
        if (problem.status === 401 || problem.status === 404) return;
      }
      timer = setTimeout(ask, pauseAfter(performance.now() - began, every));
    };
    ask();
    return () => {
      controller.abort();
      clearTimeout(timer);
    };
  }, [url, every, round]);
  return useCallback(() => setRound((n) => n + 1), []);
}

/**
 * An answer that is kept up to date. While another url is asked for, the last answer stays, so
 * nothing flickers; `url` tells what it is the answer to.
 */
export function usePolled(url, every) {
  const [state, set] = useState({ url: null, answer: null, problem: null, lostSince: null });
  const reload = useAsked(
    url,
    every,
    (answer) => set({ url, answer, problem: null, lostSince: null }),
    (problem) => set((before) => {
      const lostSince = problem.status === 0 ? before.lostSince ?? Date.now() : before.lostSince;
      return { ...before, problem, lostSince };
    }),
  );
  return { ...state, reload };
}

/** What the head of a page says of several such answers: live once `main` of them is there. */
export function feedOf(all, main) {
  const lost = all.map(({ lostSince }) => lostSince).filter((since) => since !== null);
  const lostSince = lost.length > 0 ? Math.min(...lost) : null;
  return { link: main.answer && lostSince === null ? 'live' : 'connecting', lostSince };
}

/**
 * The state at `statusUrl` and the catalogue of series, both kept up to date. `status` is null
 * until it is known; `alerts` counts how often alerts may have changed; `lostSince` is set while nothing answers, `problem` to a refusal. A gateway
 * shows only what is its own, and its name changes when it joins: there a series has no node. Of a
 * fleet only the series of one gateway are kept, the one that is to be followed.
 */
export function useFeed(statusUrl, { ofFleet }) {
  const [feed, set] = useState({
    status: null, catalog: null, link: 'connecting', lostSince: null, problem: null, alerts: 0,
  });
  const heard = useRef(0);
  const followed = useRef(null);
  const ask = useRef(null);
  const follow = useCallback((node) => {
    if (followed.current === node) return;
    followed.current = node;
    set((before) => ({ ...before, catalog: null }));
    ask.current();
  }, []);
  useEffect(() => {
    const kept = (list) => (ofFleet ? list.filter((one) => one.node === followed.current)
      : list.map((one) => ({ ...one, node: undefined })));
    const update = (part) => set((before) => ({ ...before, ...part }));
    const asked = (told) => {
      heard.current = Date.now();
      update({ status: told, lostSince: null, problem: null });
    };
    const failed = (problem) => set((before) => {
      const lostSince = problem.status === 0 ? before.lostSince ?? Date.now() : before.lostSince;
      return { ...before, lostSince, problem };
    });
    const askStatus = () => get(statusUrl).then(asked, failed);
    const askSeries = async () => {
      const node = followed.current;
      if (ofFleet && !node) return;
      try {
        const answer = await get(path('/v1/series', { node, limit: SERIES_LIMIT }));
        if (node !== followed.current) return;
        const series = kept(answer.series);
        set((before) => ({ ...before, catalog: catalogOf(series, before.catalog ?? undefined) }));
      } catch (problem) {
        failed(problem);
      }
    };
    ask.current = askSeries;
    const alertsChanged = () => set((before) => ({ ...before, alerts: before.alerts + 1 }));
    const gather = gathering((readings) => set((before) => (
      before.catalog ? { ...before, catalog: withReadings(before.catalog, readings) } : before
    )));
    const end = listen(path('/v1/events', { types: 'readings,status,alerts' }), {
      onEvent(type, value) {
        if (type === 'readings') gather.add(kept(value));
        if (type === 'status') asked(value);
        if (type === 'alerts' || type === 'lagged') alertsChanged();
        if (type === 'lagged') askSeries();
      },
      onState(link) {
        update({ link });
        if (link === 'live') {
          askSeries();
          alertsChanged();
        }
      },
    });
    askStatus();
    askSeries();
    const timer = setInterval(() => {
      if (Date.now() - heard.current >= POLL_MS) askStatus();
    }, POLL_MS);
    return () => {
      end();
      gather.end();
      clearInterval(timer);
    };
  }, [statusUrl, ofFleet]);
  return { ...feed, follow };
}

function gathering(deliver) {
  let [waiting, timer] = [[], null];
  return {
    add(items) {
      waiting.push(...items);
      timer ??= setTimeout(() => {
        const all = waiting;
        [waiting, timer] = [[], null];
        deliver(all);
      }, GATHER_MS);
    },
    end: () => clearTimeout(timer),
  };
}
