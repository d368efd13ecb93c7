// An OpenFeature provider for browsers: OFREP's own, which fetches all flags of a user at once; what is more here is
// that a flag which code asks for is confirmed as shown, and that `track()` sends feedback.
//
// It needs the packages `@openfeature/web-sdk` and `@openfeature/ofrep-web-provider`.

import { OFREPWebProvider } from "@openfeature/ofrep-web-provider";

export class CroupierWebProvider extends OFREPWebProvider {
  #url;
  #headers;
  #decisions = new Map(); // the decision that code has asked for last, by flag
  #confirmed = new Set();

  /**
   * @param {string} url of the service
   * @param {string} key an API key with the scopes `decide` and `reward` only: users can read it
   * @param {object} options of OFREPWebProvider, as `pollInterval` in milliseconds
   */
  constructor(url, key, options = {}) {
    super({ baseUrl: url, headers: [["Authorization", `Bearer ${key}`]], ...options });
    this.#url = url;
    this.#headers = { Authorization: `Bearer ${key}`, "Content-Type": "application/json" };
    this.hooks = [{ after: (_, details) => this.#shown(details) }];
  }

  /** Sends a value (1 if there is none) of the metric that the event is named after, about `details.flag`. */
  track(name, _context, details = {}) {
    const decision = this.#decisions.get(details.flag);
    if (decision) this.#send("feedback", { decision_id: decision, metric: name, value: details.value ?? 1 });
  }

  /** What code asks for is taken as shown. The same decision may be asked for often: once is enough. */
  #shown({ flagKey, flagMetadata }) {
    const decision = flagMetadata?.decision_id;
    if (!decision) return;
    this.#decisions.set(flagKey, decision);
    if (this.#confirmed.has(decision)) return;
    this.#confirmed.add(decision);
    this.#send("exposures", { decision_id: decision });
  }

  /** `keepalive`: the event is sent though the page is left. One that fails is lost, and no user should notice. */
  #send(what, event) {
    const request = { method: "POST", headers: this.#headers, body: JSON.stringify(event), keepalive: true };
    fetch(`${this.#url}/v1/${what}`, request).catch(() => {});
  }
}
