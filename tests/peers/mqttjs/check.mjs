// mqtt.js against a gateway: node check.mjs PACKAGES TOKEN DEVICE_TOKEN URL..., for the device
// `js-1`. Ends with `all well` or an assertion. The packages are in the folder that the first
// argument names.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";

const LIMIT_MS = 20_000;

const [packages, TOKEN, DEVICE_TOKEN, ...urls] = process.argv.slice(2);
const mqtt = createRequire(join(packages, "package.json"))("mqtt");

/** A client whose messages wait until they are asked for. */
class Client {
  static async connect(url, protocolVersion, clientId, more = {}) {
    const client = new Client();
    client.mqtt = mqtt.connect(url, {
      protocolVersion, clientId, username: "user", password: TOKEN, clean: true, reconnectPeriod: 0,
      ...more,
    });
    client.messages = [];
    client.waiting = [];
    client.mqtt.on("message", (topic, payload, { qos, retain }) => {
      const message = [topic, payload.toString(), qos, retain];
      const waiting = client.waiting.shift();
      if (waiting) waiting(message);
      else client.messages.push(message);
    });
    client.sessionPresent = await within(`${clientId}: CONNACK`, new Promise((resolve, reject) => {
      client.mqtt.once("connect", (connack) => resolve(connack.sessionPresent));
      client.mqtt.once("error", reject);
      client.mqtt.once("close", () => reject(new Error(`${clientId}: closed`)));
    }));
    return client;
  }

  async next() {
    if (this.messages.length > 0) return this.messages.shift();
    return within("a message", new Promise((resolve) => this.waiting.push(resolve)));
  }

  async subscribe(topic, qos) {
    const [granted] = await within(topic, this.mqtt.subscribeAsync(topic, { qos }));
    assert.equal(granted.qos, qos, topic);
  }

  publish(topic, payload, options) {
    return within(topic, this.mqtt.publishAsync(topic, payload, options));
  }

  leave() {
    return within("the end", this.mqtt.endAsync());
  }

  /** Without a word. */
  vanish() {
    this.mqtt.stream.destroy();
  }
}

async function within(what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} does not come`)), LIMIT_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function check(url, version) {
  const base = `js-${new URL(url).protocol.slice(0, -1)}-${version}`;
  const connect = (name, more) => Client.connect(url, version, `${base}-${name}`, more);
  const keeping = { clean: false, properties: { sessionExpiryInterval: 3600 } };
  if (version !== 5) delete keeping.properties;

  const device = await connect("device", { password: DEVICE_TOKEN });
  for (const qos of [0, 1, 2]) {
    await device.publish("devices/js-1/readings", '{"values":{"level":2.31}}', { qos });
  }
  await device.leave();

  const publisher = await connect("publisher");
  let kept = await connect("kept", keeping);
  assert.equal(kept.sessionPresent, false);
  await kept.subscribe(`${base}/kept/#`, 2);
  await kept.leave();
  const numbers = Array.from({ length: 30 }, (_, number) => number);
  for (const number of numbers) {
    await publisher.publish(`${base}/kept/${number % 2}`, `${number}`, { qos: 1 + (number % 2) });
  }
  kept = await connect("kept", keeping);
  assert.equal(kept.sessionPresent, true, "the session is gone");
  const got = [];
  for (const _ of numbers) got.push(await kept.next());
  for (const qos of [1, 2]) {
    // One of QoS 2 is handed on when it is released, so the order holds for each QoS by itself.
    const own = got.filter((message) => message[2] === qos).map((message) => Number(message[1]));
    assert.deepEqual(own, numbers.filter((number) => 1 + (number % 2) === qos));
  }
  await kept.leave();

  await publisher.publish(`${base}/retained`, "stays", { qos: 1, retain: true });
  const watcher = await connect("watcher");
  await watcher.subscribe(`${base}/retained`, 1);
  assert.deepEqual(await watcher.next(), [`${base}/retained`, "stays", 1, true]);
  await watcher.subscribe(`${base}/wills`, 1);
  const will = { topic: `${base}/wills`, payload: "lost", qos: 1 };
  (await connect("lost", { will })).vanish();
  assert.deepEqual(await watcher.next(), [`${base}/wills`, "lost", 1, false]);
  // Larger than any frame and any buffer on the way.
  const big = "x".repeat(300_000);
  await watcher.subscribe(`${base}/big`, 2);
  await publisher.publish(`${base}/big`, big, { qos: 2 });
  assert.equal((await watcher.next())[1], big);
  await watcher.leave();
  await publisher.leave();
}

for (const url of urls) {
  for (const version of [4, 5]) await check(url, version);
}
console.log("all well");
