// What Node-RED takes from a reading to the message that it brings about: a hundred flows, each
// looking at one device, as a hundred workflows do for `cargo xtask bench workflow`. Broker and
// devices are threads of their own. It keeps nothing. Prints a line for each figure.

import { createRequire } from "node:module";
import { createServer } from "node:net";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import { Worker, isMainThread, parentPort, workerData } from "node:worker_threads";

const packages = isMainThread ? process.argv[2] : workerData.packages;
const require = createRequire(path.join(packages, "package.json"));

const RULES = 100;
const RATE = 5000;
const SECONDS = 10;
const EACH = 25;

function broker() {
  const Aedes = require("aedes");
  const aedes = typeof Aedes === "function" ? new Aedes() : Aedes.Server ? new Aedes.Server() : Aedes();
  const server = createServer(aedes.handle);
  server.listen(0, "127.0.0.1", () => parentPort.postMessage(server.address().port));
}

// Sends readings at their pace and listens for what comes of every 25th.
async function devices() {
  const mqtt = require("mqtt");
  const url = `mqtt://127.0.0.1:${workerData.port}`;
  const client = await mqtt.connectAsync(url);
  const sent = new Map();
  const took = [];
  client.on("message", (topic, payload) => {
    const number = JSON.parse(payload).n;
    took.push(performance.now() - sent.get(number));
  });
  await client.subscribeAsync("act/#", { qos: 0 });
  const started = performance.now();
  let number = 0;
  const tick = () => {
    const due = Math.min(((performance.now() - started) * RATE) / 1000, RATE * SECONDS);
    for (; number < due; number += 1) {
      const isHigh = number % EACH === 0;
      const level = isHigh ? number / EACH + 1 : 0;
      const device = (isHigh ? number / EACH : number + Math.floor(number / RULES)) % RULES;
      if (isHigh) sent.set(level, started + (number * 1000) / RATE);
      const payload = JSON.stringify({ values: { level } });
      client.publish(`devices/pump-${device}/readings`, payload, { qos: 1 });
    }
    if (number < RATE * SECONDS) setTimeout(tick, 1);
    else setTimeout(() => parentPort.postMessage(took), 5000);
  };
  tick();
}

function thread(role, more) {
  const worker = new Worker(new URL(import.meta.url), { workerData: { role, packages, ...more } });
  return new Promise((resolve, reject) => {
    worker.on("message", (message) => resolve([message, worker]));
    worker.on("error", reject);
  });
}

function flows(port) {
  const nodes = [
    { id: "tab", type: "tab", label: "rules" },
    { id: "broker", type: "mqtt-broker", broker: "127.0.0.1", port, clientid: "", keepalive: 60, cleansession: true, protocolVersion: 4 },
    { id: "out", z: "tab", type: "mqtt out", broker: "broker", topic: "", qos: "0", retain: "false", wires: [] },
  ];
  for (let n = 0; n < RULES; n += 1) {
    const topic = `devices/pump-${n}/readings`;
    const func = `const level = msg.payload.values.level;
const was = context.get("high") || false;
context.set("high", level > 0.5);
if (level <= 0.5 || was) return null;
return { topic: "act/${n}", payload: { n: level } };`;
    nodes.push({ id: `in-${n}`, z: "tab", type: "mqtt in", broker: "broker", topic, qos: "1", datatype: "json", inputs: 0, wires: [[`rule-${n}`]] });
    nodes.push({ id: `rule-${n}`, z: "tab", type: "function", func, outputs: 1, wires: [["out"]] });
  }
  return nodes;
}

async function main() {
  const RED = require("node-red");
  const [port, serving] = await thread("broker", {});
  const userDir = await mkdtemp(path.join(os.tmpdir(), "node-red-"));
  const server = http.createServer();
  const quiet = { console: { level: "off", metrics: false, audit: false } };
  await writeFile(path.join(userDir, "flows.json"), JSON.stringify(flows(port)));
  const silent = { httpAdminRoot: false, httpNodeRoot: false, logging: quiet };
  RED.init(server, { userDir, flowFile: "flows.json", ...silent });
  await RED.start();
  await new Promise((resolve) => setTimeout(resolve, 3000));
  const [took, sending] = await thread("devices", { port });
  took.sort((a, b) => a - b);
  const wanted = (RATE * SECONDS) / EACH;
  await RED.stop();
  await Promise.all([serving.terminate(), sending.terminate()]);
  await rm(userDir, { recursive: true });
  if (took.length < wanted) throw new Error(`${took.length} of ${wanted} messages came`);
  const p99 = took[Math.ceil(took.length * 0.99) - 1];
  // What it leaves running would keep the process; a pipe takes the line before it ends.
  process.stdout.write(`workflow_actuate_p99 ${p99.toFixed(2)}\n`, () => process.exit(0));
}

if (isMainThread) await main();
else if (workerData.role === "broker") broker();
else await devices();
