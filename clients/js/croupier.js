// A client of Croupier for browsers, and for Node 20 and later. No dependencies. Types: croupier.d.ts.

const PASSING = new Set([408, 425, 429]);
const FEEDBACK_TIMEOUT_MS = 10_000;
// What may be under way when a page is left: browsers take 64 KiB of bodies with `keepalive`, of all requests together.
const KEEPALIVE_BYTES = 60_000;
const BATCH = 200;
const LONGEST_PAUSE_MS = 30_000;

/** UUIDv7 (RFC 9562): sorted by time, as the service wants its decision ids. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  let now = Date.now();
  for (let i = 5; i >= 0; i--) {
    bytes[i] = now % 256;
    now = Math.floor(now / 256);
  }
  bytes[6] = 0x70 | (bytes[6] & 0x0f);
  bytes[8] = 0x80 | (bytes[8] & 0x3f);
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

export class Refused extends Error {
  constructor(status, problem) {
    super(`${status}: ${problem?.detail ?? "no detail"}`);
    this.name = "Refused";
    this.status = status;
    this.problem = problem ?? {};
  }
}

class Away extends Error {
  constructor(detail, retryAfterMs = 0) {
    super(detail);
    this.retryAfterMs = retryAfterMs;
  }
}

export class Croupier {
  #url; #key; #timeoutMs; #tries; #fallback; #capacity; #flushMs;
  #events = [];
  #sending = null;
  #timer = null;
  #pauseMs = 0;
  #onHide = () => this.#sendLast();

  constructor({ url, key, timeoutMs = 500, tries = 2, fallback = [], capacity = 1000, flushMs = 1000 }) {
    this.#url = url.replace(/\/+$/, "");
    this.#key = key;
    this.#timeoutMs = timeoutMs;
    this.#tries = tries;
    this.#fallback = fallback;
    this.#capacity = capacity;
    this.#flushMs = flushMs;
    this.counts = {};
    // The last moment at which a page hears of its end; `unload` does not come on phones.
    globalThis.document?.addEventListener("visibilitychange", this.#onHide);
    globalThis.addEventListener?.("pagehide", this.#onHide);
  }

  get waiting() {
    return this.#events.length;
  }

  async recommend(experiment, unit, { k = 10, context = {} } = {}) {
    const decision_id = newId(); // the same for each try: a retry gets the first decision
    const end = performance.now() + this.#timeoutMs;
    const body = JSON.stringify({ decision_id, experiment, unit, k, context });
    for (let number = 1; number <= this.#tries; number++) {
      const left = end - performance.now();
      if (left < 1) break;
      try {
        // Time is kept for the tries to come.
        return await this.#post("/v1/recommendations", body, left / (this.#tries - number + 1));
      } catch (error) {
        if (!(error instanceof Away)) throw error;
        const pause = Math.max(error.retryAfterMs, Math.random() * 20 * 2 ** number);
        if (number === this.#tries || performance.now() + pause > end) break;
        await new Promise((resolve) => setTimeout(resolve, pause));
      }
    }
    const items = this.#fallback.slice(0, k).map((item_id) => ({ item_id, score: null }));
    return { decision_id, experiment, arm: null, reason: "away", items, payload: null };
  }

  reward(decision, value, { metric, item_id, position, event_id } = {}) {
    if (decision.arm === null) return false;
    if (this.#events.length === this.#capacity) {
      this.#events.shift();
      this.#count("dropped");
    }
    this.#events.push({
      decision_id: decision.decision_id,
      value,
      metric,
      item_id,
      position,
      event_id: event_id ?? newId(), // of its own, so that it can be sent twice
      occurred_at: new Date().toISOString(),
    });
    this.#schedule(this.#flushMs);
    return true;
  }

  flush() {
    // One at a time: two would send the same events.
    this.#sending ??= this.#sendAll().finally(() => { this.#sending = null; });
    return this.#sending;
  }

  close() {
    globalThis.document?.removeEventListener("visibilitychange", this.#onHide);
    globalThis.removeEventListener?.("pagehide", this.#onHide);
    clearTimeout(this.#timer);
    this.#timer = -1;
    return this.flush();
  }

  #schedule(delayMs) {
    if (this.#timer !== null) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.flush();
    }, delayMs);
    this.#timer.unref?.(); // Node is not kept alive by it
  }

  async #sendAll() {
    while (this.#events.length) {
      const [batch, body] = this.#batch();
      try {
        const { results } = await this.#post("/v1/feedback", body, FEEDBACK_TIMEOUT_MS);
        for (const { status } of results) this.#count(status);
      } catch (error) {
        if (error instanceof Away || error.status === 401 || error.status === 403) {
          this.#pauseMs = Math.min(2 * this.#pauseMs || this.#flushMs, LONGEST_PAUSE_MS);
          this.#schedule(this.#pauseMs);
          return false;
        }
        for (const _ of batch) this.#count("rejected"); // never taken: it must not hold up the others
      }
      this.#pauseMs = 0;
      const gone = new Set(batch);
      this.#events = this.#events.filter((event) => !gone.has(event));
    }
    return true;
  }

  /** The oldest events that fit into one request. */
  #batch() {
    let batch = this.#events.slice(0, BATCH);
    let body = JSON.stringify({ events: batch });
    while (batch.length > 1 && body.length > KEEPALIVE_BYTES) {
      batch = batch.slice(0, Math.ceil(batch.length / 2));
      body = JSON.stringify({ events: batch });
    }
    return [batch, body];
  }

  /** The page goes: what waits leaves in requests that outlive it. */
  #sendLast() {
    if (globalThis.document?.visibilityState === "visible" || !this.#events.length) return;
    if (this.#sending === null) this.flush();
    // Nobody will hear the answer that it waits for; what is sent twice counts once.
    else this.#post("/v1/feedback", this.#batch()[1], FEEDBACK_TIMEOUT_MS).catch(() => {});
  }

  async #post(path, body, timeoutMs) {
    let response, answer;
    try {
      response = await fetch(this.#url + path, {
        method: "POST",
        // `sendBeacon` cannot carry a key; `keepalive` outlives the page as it does.
        keepalive: body.length < KEEPALIVE_BYTES,
        headers: { "Content-Type": "application/json", "X-API-Key": this.#key },
        body,
        credentials: "omit",
        signal: AbortSignal.timeout(Math.max(1, Math.ceil(timeoutMs))),
      });
      answer = await response.json();
    } catch (error) {
      throw new Away(String(error));
    }
    if (response.ok) return answer;
    if (response.status >= 500 || PASSING.has(response.status)) {
      throw new Away(`${response.status}`, 1000 * (Number(response.headers.get("Retry-After")) || 0));
    }
    throw new Refused(response.status, answer);
  }

  #count(status) {
    this.counts[status] = (this.counts[status] ?? 0) + 1;
  }
}
