// Checks the OpenRPC document on standard input as its users' tools do, and each example against the schema of its parameters.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(new URL("../../web/package.json", import.meta.url));
const { MethodCallValidator, parseOpenRPCDocument, validateOpenRPCDocument } = require("@open-rpc/schema-utils-js");

const text = readFileSync(0, "utf8");
const problems = [];
const verdict = validateOpenRPCDocument(JSON.parse(text));
if (verdict !== true) problems.push(verdict.message);
const described = verdict === true ? await parseOpenRPCDocument(JSON.parse(text)) : { methods: [] };
const calls = verdict === true ? new MethodCallValidator(described) : undefined;
for (const method of described.methods) {
  for (const example of method.examples ?? []) {
    const params = Object.fromEntries(example.params.map(({ name, value }) => [name, value]));
    const found = calls.validate(method.name, params);
    if (Array.isArray(found) ? found.length > 0 : found instanceof Error) {
      problems.push(`${method.name}: ${[found].flat().map((error) => error.message).join("; ")}`);
    }
  }
}
console.log(JSON.stringify({ methods: described.methods.length, problems }));
