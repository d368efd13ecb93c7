// Evaluates flags with OpenFeature's SDK for servers: prints what its user would see.

import { OFREPProvider } from "@openfeature/ofrep-provider";
import { OpenFeature } from "@openfeature/server-sdk";

const { url, key, flags, wrongKey } = JSON.parse(process.argv[2]);
const context = { targetingKey: "user-1", device: "ios" };
const provider = (secret) => new OFREPProvider({ baseUrl: url, headers: [["Authorization", `Bearer ${secret}`]] });

await OpenFeature.setProviderAndWait(provider(key));
await OpenFeature.setProviderAndWait("stranger", provider(wrongKey));
const client = OpenFeature.getClient();
const stranger = OpenFeature.getClient("stranger");
console.log(
  JSON.stringify({
    text: await client.getStringDetails(flags.text, "default", context),
    yes: await client.getBooleanDetails(flags.yes, false, context),
    ratio: await client.getNumberDetails(flags.ratio, 0, context),
    object: await client.getObjectDetails(flags.object, {}, context),
    unknown: await client.getStringDetails("unknown", "default", context),
    wrongType: await client.getNumberDetails(flags.text, 7, context),
    nobody: await client.getStringDetails(flags.text, "default", {}),
    stranger: await stranger.getStringDetails(flags.text, "default", context),
  }),
);
