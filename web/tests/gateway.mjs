// The real gateway and the real hub, for what a fixture cannot show: that page and node understand
// each other. And a client of MQTT 3.1.1 for the gateway, which can just connect and publish.

import { execFile, spawn } from 'node:child_process';
import { appendFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const FOLDER = process.env.HOLDFAST_BIN_DIR;

/** Why there are no programs here, if there are none. */
export const without = FOLDER ? false : 'HOLDFAST_BIN_DIR does not tell where the programs are';

/**
 * Makes a gateway and waits until it serves; with an `invitation` it joins the hub of that, `more`
 * is added to its configuration.
 */
export const startGateway = (invitation, more) => start('holdfast-edge', 'run', {
  listeners: ['HTTP', 'MQTT'], before: invitation ? [['join', invitation]] : [], more,
});

export const startHub = (more) => start('holdfast-hub', 'serve', {
  listeners: ['HTTP', 'SYNC'], more,
});

/** Makes a node in a folder of its own, on free ports, and waits until it serves. */
async function start(name, verb, { listeners, before = [], more = '' }) {
  const folder = await mkdtemp(join(tmpdir(), `${name}-`));
  const program = join(FOLDER, name);
  const config = ['--config', join(folder, 'node.toml')];
  const any = listeners.map((one) => [`HOLDFAST_${one}_LISTEN`, '127.0.0.1:0']);
  const env = { ...process.env, ...Object.fromEntries(any) };
  const data = join(folder, 'data');
  const command = (...words) => promisify(execFile)(program, [...words, ...config], { env });
  await command('init', '--data', data);
  await appendFile(config[1], more);
  for (const words of before) await command(...words);
  const running = spawn(program, [verb, ...config], { env, stdio: ['ignore', 'pipe', 'ignore'] });
  const ended = new Promise((end) => running.once('exit', end));
  const addresses = {};
  for await (const line of createInterface(running.stdout)) {
    const [word, name, address] = line.split(' ');
    if (word === 'listening') addresses[name] = address;
    if (word === 'ready') break;
  }
  // So that commands find it.
  env.HOLDFAST_HTTP_LISTEN = addresses.http;
  const url = `http://${addresses.http}/`;
  const token = (await readFile(join(data, 'admin.token'), 'utf8')).trim();
  const call = async (method, path, body) => {
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
    const asked = { method, headers, body: body && JSON.stringify(body) };
    const answer = await fetch(new URL(path, url), asked);
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return answer.status === 204 ? null : answer.json();
  };
  const post = (path, body) => call('POST', path, body);
  return {
    url,
    mqtt: addresses.mqtt,
    token,
    command,
    /** Posts to the API as its administrator. */
    post,
    /** Posts a reading of a series that is new, and waits until workflows can read it. */
    async measure(device, metric, value) {
      await post('v1/readings', { device, metric, unit: 'm', value });
      const isNew = (one) => one.device === device && one.metric === metric;
      while (!(await call('GET', 'v1/series')).series.some(isNew)) await sleep(20);
    },
    async close() {
      running.kill();
      await ended;
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A string of MQTT, which is never long here. */
const string = (text) => {
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes]);
};

const packet = (head, ...parts) => {
  const body = Buffer.concat(parts);
  if (body.length > 127) throw new Error('one byte has to do for its length');
  return Buffer.concat([Buffer.from([head, body.length]), body]);
};

/** Connects with a token and waits until it is let in; `closed` is done when it is over. */
export async function connectClient(address, id, token) {
  const [host, port] = address.split(':');
  const socket = connect(Number(port), host);
  const closed = new Promise((end) => socket.once('close', end));
  const first = new Promise((told, failed) => {
    socket.once('data', told);
    socket.once('error', failed);
  });
  // Clean start, with user name and password, no keep alive.
  const head = Buffer.concat([string('MQTT'), Buffer.from([4, 0xc2, 0, 0])]);
  socket.write(packet(0x10, head, string(id), string('user'), string(token)));
  const answer = await first;
  if (answer[0] !== 0x20 || answer[3] !== 0) throw new Error(`not let in: ${answer.toString('hex')}`);
  socket.on('error', () => {});
  return {
    closed,
    publish: (topic, text) => socket.write(packet(0x30, string(topic), Buffer.from(text))),
    close: () => socket.destroy(),
  };
}
