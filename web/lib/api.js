// The way to the node's API. Whatever goes wrong becomes a `Problem` (RFC 9457) with words for
// people in `detail`, also when no answer came at all, so pages have one way to show it. A 401 is
// told to whoever shows the sign-in form.

import { clock } from './time.js';

/** An answer that is not the one asked for. */
export class Problem extends Error {
  constructor({ status = 0, code = 'unknown', title = '', detail = '', at, expected, diagnostics }) {
    super(detail || title || `the node answered with status ${status}`);
    Object.assign(this, { status, code, title, at, expected, diagnostics });
  }

  /** All of it in one sentence or two. */
  get words() {
    const where = this.at ? ` (${this.at})` : '';
    const expected = this.expected ? `. Expected: ${this.expected}` : '';
    return this.message + where + expected;
  }
}

const signedOut = new Set();

/** Calls `listener` when the session is over; returns the way to stop that. */
export function onSignedOut(listener) {
  signedOut.add(listener);
  return () => signedOut.delete(listener);
}

/** `path?name=value`, without the names that have no value. */
export function path(base, params = {}) {
  const given = Object.entries(params).filter(([, v]) => v !== undefined && v !== null);
  const query = new URLSearchParams(given).toString();
  return query ? `${base}?${query}` : base;
}

/** The problem an answer carries, or one made from its status. */
export async function problemOf(response) {
  let body = {};
  try {
    const type = response.headers.get('content-type') ?? '';
    if (type.includes('json')) body = await response.json();
  } catch {
    body = {};
  }
  const title = body.title ?? response.statusText;
  return new Problem({ ...body, title, status: response.status });
}

async function call(method, url, body, signal) {
  const init = { method, signal, headers: { accept: 'application/json' } };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers['content-type'] = 'application/json';
  }
  let response;
  try {
    response = await fetch(url, init);
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Problem({ code: 'unreachable', detail: 'the node does not answer' });
  }
  if (!response.ok) {
    const problem = await problemOf(response);
    if (response.status === 401) tellSignedOut();
    throw problem;
  }
  if (response.status === 204) return null;
  const answer = await response.json();
  if (answer?.as_of?.time) clock.observe(answer.as_of.time);
  return answer;
}

/** Tells the sign-in form that the session is over. */
export function tellSignedOut() {
  for (const listener of signedOut) listener();
}

export const get = (url, signal) => call('GET', url, undefined, signal);
export const post = (url, body) => call('POST', url, body);
export const patch = (url, body) => call('PATCH', url, body);
export const remove = (url) => call('DELETE', url);
