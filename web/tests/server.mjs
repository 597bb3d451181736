// A small server for the tests of the pages: the files of `web/` with the very policy the services
// send, and answers a test may change while the page is open. A fixture, not a model of the node.

import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const WEB = fileURLToPath(new URL('..', import.meta.url));
const POLICY = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
  + "form-action 'self'; frame-ancestors 'none'";
const TYPES = {
  '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8', '.svg': 'image/svg+xml',
};
export const TOKEN = 'hfe_adm_right';
/** Signs in once. */
export const CODE = 'abcd2345';

/**
 * Starts it. `routes` maps `METHOD /path` to `(url, body) => answer`, an answer being a value to
 * send as JSON, null where nothing is to be said, `{ status, problem }` with what else the
 * problem carries, or `{ stream }` with the first events, to which `send` adds.
 */
export async function serve(index, routes) {
  const state = { signedIn: false, requests: [], streams: new Map(), routes, refuseEvents: false };
  const server = createServer((request, response) => {
    handle(state, index, request, response).catch((error) => {
      response.writeHead(500).end(String(error));
    });
  });
  await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
  return {
    state,
    url: `http://127.0.0.1:${server.address().port}/`,
    /** Tells all who listen at a path; to `/v1/events` unless another is named. */
    send(type, value, path = '/v1/events') {
      for (const [stream, at] of state.streams) if (at === path) tell(stream, type, value);
    },
    cut() {
      for (const stream of state.streams.keys()) stream.destroy();
    },
    /** Ends connections without a word from now on, or no longer. */
    refuse(isSilent) {
      state.isSilent = isSilent;
    },
    count: (part) => state.requests.filter((request) => request.includes(part)).length,
    close: () => new Promise((closed) => {
      server.closeAllConnections();
      server.close(closed);
    }),
  };
}

async function handle(state, index, request, response) {
  const url = new URL(request.url, 'http://127.0.0.1');
  if (!url.pathname.startsWith('/v1/')) return file(index, url.pathname, response);
  if (state.isSilent) return request.socket.destroy();
  state.requests.push(`${request.method} ${request.url}`);
  const body = await bodyOf(request);
  const name = `${request.method} ${url.pathname}`;
  if (name.endsWith('/v1/session')) return session(state, request.method, body, response);
  if (!state.signedIn) return problem(response, 401, 'no-token', 'no token was given');
  if (name === 'GET /v1/events') return events(state, url.pathname, [], response);
  const route = state.routes[name] ?? state.routes[`${request.method} *`];
  const answer = await route?.(url, body);
  if (answer === null) return response.writeHead(204).end();
  if (answer?.stream) return events(state, url.pathname, answer.stream, response);
  if (answer === undefined) return problem(response, 404, 'not-found', `there is no ${name}`);
  if (answer.problem) {
    const { status, problem: detail, ...more } = answer;
    return problem(response, status, 'refused', detail, more);
  }
  return json(response, request.method === 'POST' ? 201 : 200, answer);
}

async function file(index, path, response) {
  const name = normalize(path === '/' ? index : path.slice(1));
  try {
    if (name.startsWith('..')) throw new Error('outside');
    const content = await readFile(join(WEB, name));
    const type = TYPES[extname(name)] ?? 'application/octet-stream';
    const headers = { 'content-type': type, 'content-security-policy': POLICY };
    response.writeHead(200, { ...headers, 'x-content-type-options': 'nosniff' }).end(content);
  } catch {
    response.writeHead(404).end();
  }
}

async function bodyOf(request) {
  let text = '';
  for await (const chunk of request) text += chunk;
  return text ? JSON.parse(text) : undefined;
}

function session(state, method, body, response) {
  const scope = state.scope ?? 'admin';
  const who = { id: 't1', name: 'first administrator', scope, session: true };
  if (method === 'DELETE') {
    state.signedIn = false;
    response.writeHead(204).end();
    return undefined;
  }
  if (method === 'POST') {
    const isCode = body.code === CODE && !state.codeIsUsed;
    state.codeIsUsed ||= isCode;
    if (body.code && !isCode) {
      return problem(response, 401, 'unknown-code', 'this address was used or is too old');
    }
    if (!isCode && body.token !== TOKEN) {
      return problem(response, 401, 'unknown-token', 'this token is not known here');
    }
    state.signedIn = true;
    return json(response, 200, who);
  }
  return state.signedIn ? json(response, 200, who) : problem(response, 401, 'no-token', 'no token');
}

function tell(stream, type, value) {
  stream.write(`event: ${type}\ndata: ${JSON.stringify(value)}\n\n`);
}

function events(state, path, first, response) {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
  response.write(': hello\n\n');
  for (const [type, value] of first) tell(response, type, value);
  state.streams.set(response, path);
  response.on('close', () => state.streams.delete(response));
}

function json(response, status, value) {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

function problem(response, status, code, detail, more = {}) {
  const body = { type: `about:${code}`, title: 'Refused', status, detail, code, ...more };
  response.writeHead(status, { 'content-type': 'application/problem+json' });
  response.end(JSON.stringify(body));
}
