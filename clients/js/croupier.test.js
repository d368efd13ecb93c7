// Against a running service: CROUPIER_URL, CROUPIER_KEY and CROUPIER_EXPERIMENT say which. Others are made here.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, test } from "node:test";
import { Croupier, Refused, newId } from "./croupier.js";

const { CROUPIER_URL: url, CROUPIER_KEY: key, CROUPIER_EXPERIMENT: experiment } = process.env;
const servers = [];
after(() => servers.forEach((server) => server.close()));

/** The URL of a server that answers by `answer(number, body, response)`. */
function serve(answer) {
  return new Promise((resolve) => {
    let number = 0;
    const server = createServer((request, response) => {
      let body = "";
      request.on("data", (piece) => { body += piece; });
      request.on("end", () => answer(++number, body && JSON.parse(body), response, request));
    });
    servers.push(server);
    server.listen(0, "127.0.0.1", () => resolve(`http://127.0.0.1:${server.address().port}`));
  });
}

function json(response, status, body, headers = {}) {
  response.writeHead(status, { "Content-Type": "application/json", Connection: "close", ...headers });
  response.end(JSON.stringify(body));
}

const decision = { decision_id: newId(), experiment: "home", arm: "a", items: [], payload: null, reason: "policy" };

test("ids are UUIDs of version 7, and sort by time", () => {
  assert.match(newId(), /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.ok(Math.abs(parseInt(newId().replace("-", "").slice(0, 12), 16) - Date.now()) < 60_000);
});

test("a decision is made and its reward is accepted", async () => {
  const croupier = new Croupier({ url, key, timeoutMs: 20_000 });
  const made = await croupier.recommend(experiment, "browser", { k: 2, context: { device: "web" } });
  assert.equal(made.items.length, 2);
  assert.ok(croupier.reward(made, 1, { item_id: made.items[0].item_id, position: 1 }));
  assert.ok(croupier.reward(made, 1, { metric: "unknown" }));
  assert.equal(await croupier.close(), true);
  assert.deepEqual(croupier.counts, { accepted: 1, rejected: 1 });
});

test("a wrong request is refused and says where", async () => {
  const croupier = new Croupier({ url, key, timeoutMs: 20_000, fallback: ["x"] });
  await assert.rejects(croupier.recommend(experiment, "u", { k: 0 }), (error) => {
    assert.ok(error instanceof Refused);
    return error.status === 422 && error.problem.errors[0].pointer === "#/k";
  });
});

test("a retry carries the same decision id", async () => {
  const ids = [];
  const at = await serve((number, body, response) => {
    ids.push(body.decision_id);
    if (number === 1) response.destroy();
    else json(response, 200, { ...decision, decision_id: body.decision_id });
  });
  const made = await new Croupier({ url: at, key, timeoutMs: 20_000 }).recommend("home", "u");
  assert.deepEqual(ids, [made.decision_id, made.decision_id]);
});

test("without the service the fallback list is given in time, and nobody is told of it", async () => {
  const at = await serve(() => {}); // never answers
  const croupier = new Croupier({ url: at, key, timeoutMs: 200, fallback: ["x", "y"] });
  const began = performance.now();
  const made = await croupier.recommend("home", "u", { k: 1 });
  assert.ok(performance.now() - began < 2000);
  assert.deepEqual([made.arm, made.reason, made.items], [null, "away", [{ item_id: "x", score: null }]]);
  assert.equal(croupier.reward(made, 1), false);
});

test("events wait until they are taken, with the same ids, and a key that is refused is no fault of theirs", async () => {
  const seen = [];
  const at = await serve((number, body, response, request) => {
    assert.equal(request.headers["x-api-key"], key);
    seen.push(body.events.map((event) => event.event_id));
    if (number === 1) json(response, 503, {}, { "Retry-After": "0" });
    else if (number === 2) json(response, 401, {});
    else json(response, 200, { results: body.events.map(() => ({ status: "accepted" })) });
  });
  const croupier = new Croupier({ url: at, key, flushMs: 60_000 });
  croupier.reward(decision, 1);
  croupier.reward(decision, 2, { event_id: "mine" });
  assert.deepEqual([await croupier.flush(), await croupier.flush(), croupier.waiting], [false, false, 2]);
  assert.equal(await croupier.close(), true);
  assert.deepEqual(seen[0], seen[2]);
  assert.equal(seen[2][1], "mine");
  assert.deepEqual([croupier.counts, croupier.waiting], [{ accepted: 2 }, 0]);
});

test("a batch that is never taken does not hold up others, and the oldest events make room", async () => {
  const at = await serve((_, __, response) => json(response, 422, { detail: "no" }));
  const croupier = new Croupier({ url: at, key, capacity: 2 });
  for (let i = 0; i < 3; i++) croupier.reward(decision, i);
  assert.equal(await croupier.close(), true);
  assert.deepEqual(croupier.counts, { dropped: 1, rejected: 2 });
});

test("events leave by themselves, and when the page is hidden, in requests that outlive it", async () => {
  const kept = [];
  const real = globalThis.fetch;
  globalThis.document = new EventTarget();
  globalThis.document.visibilityState = "hidden";
  globalThis.fetch = async (_, options) => {
    kept.push([options.keepalive, JSON.parse(options.body).events.length]);
    return new Response(JSON.stringify({ results: JSON.parse(options.body).events.map(() => ({ status: "accepted" })) }));
  };
  try {
    const croupier = new Croupier({ url: "http://x", key, flushMs: 60_000 });
    for (let i = 0; i < 450; i++) croupier.reward(decision, 1, { item_id: "i".repeat(100) });
    globalThis.document.dispatchEvent(new Event("visibilitychange"));
    assert.equal(await croupier.flush(), true);
    assert.ok(kept.every(([keepalive]) => keepalive));
    assert.equal(kept.reduce((sum, [, count]) => sum + count, 0), 450);
    await croupier.close();
    const other = new Croupier({ url: "http://x", key, flushMs: 1 });
    other.reward(decision, 1);
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal(other.waiting, 0);
    await other.close();
  } finally {
    globalThis.fetch = real;
    delete globalThis.document;
  }
});
