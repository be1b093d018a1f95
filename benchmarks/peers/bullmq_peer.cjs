// BullMQ, with the line protocol of serve.py: node bullmq_peer.cjs producer|worker <url> <slots>
"use strict";
const readline = require("node:readline");
const { performance } = require("node:perf_hooks");
const { Queue, QueueEvents, Worker } = require("bullmq");
const { version } = require("bullmq/package.json");

const [role, address, slots] = process.argv.slice(2);
const parsed = new URL(address);
const connection = {
  host: parsed.hostname,
  port: Number(parsed.port),
  password: decodeURIComponent(parsed.password),
  maxRetriesPerRequest: null,
};
const CHUNK = 100; // jobs in one addBulk, as in serve.py

async function produce() {
  const queue = new Queue("bench", { connection });
  const events = new QueueEvents("bench", { connection });
  await events.waitUntilReady();

  const put = () => queue.add("nothing", {});
  const putMany = async (count) => {
    const jobs = [];
    while (jobs.length < count) {
      const size = Math.min(CHUNK, count - jobs.length);
      jobs.push(...(await queue.addBulk(Array.from({ length: size }, () => ({ name: "nothing", data: {} })))));
    }
    return jobs;
  };
  // One listener for all jobs costs less than job.waitUntilFinished, which asks Redis once for each.
  const early = new Map();
  const waiting = new Map();
  events.on("completed", ({ jobId, returnvalue }) => {
    const resolve = waiting.get(jobId);
    if (resolve) resolve(returnvalue);
    else early.set(jobId, returnvalue);
    waiting.delete(jobId);
  });
  const result = async (job) => {
    const value = early.has(job.id) ? early.get(job.id) : await new Promise((resolve) => waiting.set(job.id, resolve));
    early.delete(job.id);
    if (value !== "{}") throw new Error(`another result: ${value}`);
  };
  const timed = async (work) => {
    const begin = performance.now();
    await work();
    return (performance.now() - begin) / 1000;
  };
  const measures = {
    single: (count) => timed(async () => { for (let i = 0; i < count; i++) await put(); }),
    bulk: (count) => timed(() => putMany(count)),
    cycle: (count) => timed(async () => { await Promise.all((await putMany(count)).map(result)); }),
    latency: async (count) => {
      const times = [];
      for (let i = 0; i < count; i++) times.push(await timed(async () => result(await put())));
      return times;
    },
  };
  console.log(JSON.stringify({ versions: `bullmq ${version}, node ${process.versions.node}` }));
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { do: name, count } = JSON.parse(line);
    console.log(JSON.stringify({ seconds: await measures[name](count) }));
  }
  process.exit(0);
}

if (role === "worker") {
  new Worker("bench", async () => "{}", { connection, concurrency: Number(slots) });
} else {
  produce();
}
