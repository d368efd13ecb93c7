// Fetches all flags with OpenFeature's SDK for browsers, polls them, shows one and clicks: prints what its user would
// see, and the status of each call.

import { OpenFeature } from "@openfeature/web-sdk";
import { CroupierWebProvider } from "./croupier-web-provider.mjs";

const { url, key, flags, unit } = JSON.parse(process.argv[2]);
const statuses = [];
const waiting = [];
const direct = globalThis.fetch;
globalThis.fetch = (...request) => {
  const sent = direct(...request).then((answer) => {
    statuses.push([new URL(answer.url).pathname, answer.status]);
    return answer;
  });
  waiting.push(sent);
  return sent;
};

const provider = new CroupierWebProvider(url, key, { pollInterval: 150, cacheMode: "disabled" });
await OpenFeature.setContext({ targetingKey: unit });
await OpenFeature.setProviderAndWait(provider);
const client = OpenFeature.getClient();
const shown = client.getStringDetails(flags.text, "default");
const again = client.getStringDetails(flags.text, "default");
await Promise.all(waiting);
client.track("click", { value: 1, flag: flags.text });
client.track("click", { value: 1, flag: "never asked for" });
const polls = () => statuses.filter(([path]) => path.endsWith("/flags")).length;
while (polls() < 4) await new Promise((resolve) => setTimeout(resolve, 20));
const unknown = client.getStringDetails("unknown", "default");
await OpenFeature.close();
await Promise.all(waiting);
console.log(JSON.stringify({ shown, again, unknown, statuses, flags: Object.keys(provider.flagCache) }));
