// A headless Chromium, driven over the pipe it offers on its file descriptors 3 and 4: DevTools
// messages as JSON, each ended by a zero byte. So the tests need a browser and nothing else. What a
// page complains about (errors, refused content, requests to other hosts) is collected.

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const DEADLINE_MS = 30_000;
const BROWSERS = [
  process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome',
];
const FLAGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
  '--disable-dev-shm-usage', '--remote-debugging-pipe',
];

/** Where a browser is, or nothing. */
export const browserPath = () => BROWSERS.find((path) => path && existsSync(path));

export async function startBrowser() {
  const profile = await mkdtemp(join(tmpdir(), 'holdfast-web-'));
  const process_ = spawn(browserPath(), [...FLAGS, `--user-data-dir=${profile}`, 'about:blank'], {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
  });
  const pipe = new Pipe(process_.stdio[3], process_.stdio[4]);
  const ended = new Promise((end) => process_.once('exit', end));
  return {
    page: (options) => openPage(pipe, options),
    async close() {
      await Promise.race([pipe.send('Browser.close').catch(() => {}), ended]);
      process_.kill();
      await ended;
      await rm(profile, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

/** What the browser says of a question to a page that is left just then. */
const LEFT = /navigated or closed|context was destroyed|Cannot find context/;

const KEYS = {
  Enter: { code: 'Enter', text: '\r', windowsVirtualKeyCode: 13 },
  Tab: { code: 'Tab', windowsVirtualKeyCode: 9 },
};

class Pipe {
  #next = 1;
  #waiting = new Map();
  #listeners = new Map();
  #rest = '';

  constructor(input, output) {
    this.input = input;
    input.on('error', () => {});
    output.setEncoding('utf8');
    output.on('data', (text) => this.#take(text));
    output.on('close', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('the browser is gone'));
    });
  }

  on(sessionId, listener) {
    this.#listeners.set(sessionId, listener);
  }

  send(method, params = {}, sessionId = undefined) {
    const id = this.#next;
    this.#next += 1;
    this.input.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  #take(text) {
    const parts = (this.#rest + text).split('\0');
    this.#rest = parts.pop();
    for (const part of parts) this.#message(JSON.parse(part));
  }

  #message({ id, result, error, method, params, sessionId }) {
    if (id === undefined) {
      this.#listeners.get(sessionId)?.(method, params);
      return;
    }
    const { resolve, reject } = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error) reject(new Error(error.message));
    else resolve(result);
  }
}

async function openPage(pipe, { width = 1280, height = 900, dark = false, zone } = {}) {
  const { targetId } = await pipe.send('Target.createTarget', { url: 'about:blank' });
  const { sessionId } = await pipe.send('Target.attachToTarget', { targetId, flatten: true });
  const send = (method, params) => pipe.send(method, params, sessionId);
  const complaints = [];
  const hosts = new Set();
  pipe.on(sessionId, (method, params) => collect(method, params, complaints, hosts));
  for (const domain of ['Page', 'Runtime', 'Log', 'Network', 'Audits']) {
    await send(`${domain}.enable`);
  }
  const metrics = { width, height, deviceScaleFactor: 1, mobile: width < 600 };
  await send('Emulation.setDeviceMetricsOverride', metrics);
  if (zone) await send('Emulation.setTimezoneOverride', { timezoneId: zone });
  const features = [{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }];
  await send('Emulation.setEmulatedMedia', { features });
  const closed = () => pipe.send('Target.closeTarget', { targetId });
  return new Page({ send, complaints, hosts, closed });
}

function collect(method, params, complaints, hosts) {
  if (method === 'Runtime.exceptionThrown') {
    const { text, exception } = params.exceptionDetails;
    complaints.push(`exception: ${exception?.description ?? text}`);
  }
  if (method === 'Runtime.consoleAPICalled' && ['error', 'warning'].includes(params.type)) {
    complaints.push(`console: ${params.args.map((arg) => arg.value ?? arg.description).join(' ')}`);
  }
  if (method === 'Log.entryAdded' && params.entry.level === 'error') {
    complaints.push(`log: ${params.entry.text} ${params.entry.url ?? ''}`);
  }
  if (method === 'Audits.issueAdded' && params.issue.code === 'ContentSecurityPolicyIssue') {
    complaints.push(`policy: ${JSON.stringify(params.issue.details)}`);
  }
  if (method === 'Network.requestWillBeSent') {
    const { protocol, host } = new URL(params.request.url);
    if (protocol.startsWith('http')) hosts.add(host);
  }
}

class Page {
  constructor(parts) {
    Object.assign(this, parts);
  }

  goto(url) {
    return this.send('Page.navigate', { url });
  }

  /** The value of an expression in the page. */
  async value(expression) {
    const params = { expression, awaitPromise: true, returnByValue: true };
    const { result, exceptionDetails } = await this.send('Runtime.evaluate', params);
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? expression);
    return result.value;
  }

  /** Waits until an expression is true, or says what the page showed instead. */
  async until(expression) {
    const end = Date.now() + DEADLINE_MS;
    while (Date.now() < end) {
      const tried = `(() => { try { return ${expression}; } catch { return null; } })()`;
      try {
        const found = await this.value(tried);
        if (found) return found;
        await this.value('new Promise((next) => setTimeout(next, 20))');
      } catch (error) {
        // A link was followed: the next page may say it.
        if (!LEFT.test(error.message)) throw error;
      }
    }
    const text = await this.value('document.body.innerText');
    throw new Error(`never true: ${expression}\n${this.complaints.join('\n')}\n${text}`);
  }

  /** Waits for a text on the page. */
  shows(text) {
    return this.until(`document.body.innerText.includes(${JSON.stringify(text)})`);
  }

  /** Types into a field as a person would, as far as the page can tell. */
  async type(selector, text) {
    await this.until(`document.querySelector(${JSON.stringify(selector)})`);
    await this.value(`document.querySelector(${JSON.stringify(selector)}).focus()`);
    await this.value('document.activeElement.select?.()');
    await this.send('Input.insertText', { text });
  }

  /** Clicks the first `selector` whose text contains `text`. */
  async click(selector, text = '') {
    const all = `[...document.querySelectorAll(${JSON.stringify(selector)})]`;
    const one = `${all}.find((e) => e.textContent.includes(${JSON.stringify(text)}))`;
    await this.until(one + ' !== undefined');
    await this.value(`${one}.click()`);
  }

  async press(key) {
    const known = KEYS[key] ?? { code: key };
    await this.send('Input.dispatchKeyEvent', { type: 'keyDown', key, ...known });
    await this.send('Input.dispatchKeyEvent', { type: 'keyUp', key, ...known });
  }

  async screenshot(file) {
    const { data } = await this.send('Page.captureScreenshot', { format: 'png' });
    await writeFile(file, Buffer.from(data, 'base64'));
  }
}
