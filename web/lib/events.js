// Server-sent events over `fetch`, which unlike EventSource shows a refusal and lets us notice a
// silent connection: the node says something at least every 15 s, so a longer silence is a dead
// link. A lost stream is opened again after a growing, jittered pause; what was missed is not
// replayed, so whoever listens asks again for the state on every `open`.

import { problemOf, tellSignedOut } from './api.js';

/** Longer than two heartbeats of the node. */
const SILENCE_MS = 40_000;
const PAUSE_MS = 1_000;
const PAUSE_MAX_MS = 15_000;

/** Takes the text of a stream in any pieces and hands out whole events. */
export class EventParser {
  #rest = '';
  #type = '';
  #data = [];

  feed(text) {
    const events = [];
    const whole = this.#rest + text;
    // A carriage return at the very end may be half of a line end.
    const ready = whole.endsWith('\r') ? whole.slice(0, -1) : whole;
    const lines = ready.split(/\r\n|\n|\r/);
    this.#rest = lines.pop() + whole.slice(ready.length);
    for (const line of lines) this.#line(line, events);
    return events;
  }

  #line(line, events) {
    if (line === '') {
      if (this.#data.length > 0) {
        events.push({ type: this.#type || 'message', data: this.#data.join('\n') });
      }
      [this.#type, this.#data] = ['', []];
      return;
    }
    const colon = line.indexOf(':');
    if (colon === 0) return;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'event') this.#type = value;
    if (field === 'data') this.#data.push(value);
  }
}

/** The pause before try number `tries`: full jitter under a doubling bound. */
export function pause(tries, random = Math.random) {
  return Math.min(PAUSE_MAX_MS, PAUSE_MS * 2 ** tries) * (0.2 + 0.8 * random());
}

/**
 * Listens until the returned function is called. `onEvent(type, value)` gets each event,
 * `onState('live' | 'lost')` each change; `live` means: ask for the state now. Where `onRefused` is
 * given it gets the problem of an answer that is no stream; what was asked wrongly is not asked again.
 */
export function listen(url, { onEvent, onState, onRefused }) {
  let [ended, tries, timer, controller] = [false, 0, null, null];

  async function run() {
    controller = new AbortController();
    try {
      await stream(url, controller, onEvent, () => {
        tries = 0;
        onState('live');
      });
    } catch (error) {
      if (error.status === 401) {
        ended = true;
        tellSignedOut();
      } else if (error.status > 0 && onRefused) {
        ended ||= error.status < 500;
        onRefused(error);
      }
    }
    if (ended) return;
    onState('lost');
    timer = setTimeout(run, pause(tries));
    tries += 1;
  }

  run();
  return () => {
    ended = true;
    clearTimeout(timer);
    controller?.abort();
  };
}

async function stream(url, controller, onEvent, onOpen) {
  let watchdog = setTimeout(() => controller.abort(), SILENCE_MS);
  try {
    const headers = { accept: 'text/event-stream' };
    const response = await fetch(url, { headers, signal: controller.signal, cache: 'no-store' });
    if (!response.ok) throw await problemOf(response);
    onOpen();
    const parser = new EventParser();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(watchdog);
      watchdog = setTimeout(() => controller.abort(), SILENCE_MS);
      for (const event of parser.feed(value)) onEvent(event.type, JSON.parse(event.data));
    }
  } finally {
    clearTimeout(watchdog);
  }
}
