// What PouchDB takes for the work of `cargo xtask bench docs`: a server (express-pouchdb) in one
// process, a client in this one, both over LevelDB, the client replicating from the server.
//
// Every byte of the server's TCP connections is counted, both ways. A change is fetched by
// replicating again, which is what a client does that comes back. Prints a line for each figure:
// its name, a blank, the number. The packages are in the folder that the first argument names.

import { fork } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const DOCUMENTS = 1_000;
const KEYS = 20;
const CHANGED = 100;

const [packages, role, dir] = process.argv.slice(2);
const require = createRequire(join(packages, "package.json"));
const PouchDB = require("pouchdb-core")
  .plugin(require("pouchdb-adapter-leveldb"))
  .plugin(require("pouchdb-adapter-http"))
  .plugin(require("pouchdb-mapreduce"))
  .plugin(require("pouchdb-replication"));

/** What stands under a key of a document; the same in every peer. */
function value(number, key) {
  return (number * 7_919 + key * 104_729) % 1_000_003;
}

const name = (number) => `ps-${String(number).padStart(5, "0")}`;

function documentOf(number) {
  const document = { _id: name(number) };
  for (let key = 0; key < KEYS; key += 1) {
    document[`k${String(key).padStart(2, "0")}`] = value(number, key);
  }
  return document;
}

/** The side that has the documents: it fills its database, serves it, and does what it is told. */
async function serve() {
  const Stored = PouchDB.defaults({ prefix: `${dir}/`, adapter: "leveldb" });
  const database = new Stored("twins");
  await database.bulkDocs(Array.from({ length: DOCUMENTS }, (_, number) => documentOf(number)));
  const app = require("express")();
  const options = { mode: "minimumForPouchDB", inMemoryConfig: true, logPath: `${dir}/log.txt` };
  app.use("/", require("express-pouchdb")(Stored, options));
  const sockets = [];
  const server = app.listen(0, "127.0.0.1", () => process.send({ port: server.address().port }));
  server.on("connection", (socket) => sockets.push(socket));
  process.on("message", async ({ changed, to }) => {
    for (let number = 0; number < (changed ?? 0); number += 1) {
      const document = await database.get(name(number));
      await database.put({ ...document, k07: to });
    }
    const bytes = sockets.reduce((sum, socket) => sum + socket.bytesRead + socket.bytesWritten, 0);
    process.send({ bytes });
  });
}

async function measure() {
  const root = mkdtempSync(join(tmpdir(), "holdfast-peer-"));
  const server = fork(fileURLToPath(import.meta.url), [packages, "serve", root]);
  const heard = () => new Promise((resolve) => server.once("message", resolve));
  const ask = async (request) => {
    const answer = heard();
    server.send(request);
    return (await answer).bytes;
  };
  try {
    const { port } = await heard();
    const client = new PouchDB(`${root}/client`, { adapter: "leveldb" });
    const remote = `http://127.0.0.1:${port}/twins`;
    const fetched = async (wanted) => {
      const before = await ask({});
      const started = performance.now();
      const { docs_written: written } = await client.replicate.from(remote);
      const seconds = (performance.now() - started) / 1_000;
      if (written !== wanted) throw new Error(`${written} documents came, not ${wanted}`);
      return { seconds, bytes: (await ask({})) - before };
    };
    const first = await fetched(DOCUMENTS);
    console.log(`first_sync_s ${first.seconds.toFixed(3)}`);
    console.log(`first_sync_bytes ${first.bytes}`);
    console.log(`idle_bytes ${(await fetched(0)).bytes}`);
    await ask({ changed: 1, to: 1 });
    console.log(`offline_change_bytes ${(await fetched(1)).bytes}`);
    await ask({ changed: CHANGED, to: 3 });
    console.log(`changed_100_bytes ${(await fetched(CHANGED)).bytes}`);
    await client.close();
  } finally {
    server.kill();
    rmSync(root, { recursive: true, force: true });
  }
}

await (role === "serve" ? serve() : measure());
