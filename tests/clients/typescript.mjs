// What a user of a TypeScript SDK sees, as JSON: node typescript.mjs sdk|client sse|http URL, the token in MCP_AUTH_TOKEN.
const [generation, transport, url] = process.argv.slice(2);
const { Client, SSEClientTransport, StreamableHTTPClientTransport } = await {
  sdk: async () => ({
    ...(await import("@modelcontextprotocol/sdk/client/index.js")),
    ...(await import("@modelcontextprotocol/sdk/client/sse.js")),
    ...(await import("@modelcontextprotocol/sdk/client/streamableHttp.js")),
  }),
  client: () => import("@modelcontextprotocol/client"),
}[generation]();

const requestInit = { headers: { Authorization: `Bearer ${process.env.MCP_AUTH_TOKEN}` } };
const Transport = { sse: SSEClientTransport, http: StreamableHTTPClientTransport }[transport];
const client = new Client({ name: "smoke", version: "1" });
await client.connect(new Transport(new URL(url), { requestInit }));
// The 1.x SDK checks results against output schemas, failures too, once it has listed the tools.
const { tools } = await client.listTools();
const call = (name, args) => client.callTool({ name, arguments: args });
const secret_id = "shared/api-key";
const seen = {
  server: client.getServerVersion().name,
  tools: tools.map((tool) => tool.name),
  production: await call("get_secret_value", { secret_id, account: "production" }),
  staging: await call("get_secret_value", { secret_id, account: "staging" }),
  refused: await call("get_secret_value", { secret_id, account: "nowhere" }),
  missing: await call("describe_secret", { secret_id: "no/such", account: "staging" }),
  destroyed: await call("delete_secret", { secret_id, account: "staging", force_delete_without_recovery: true }),
};
await client.close();
console.log(JSON.stringify(seen));
