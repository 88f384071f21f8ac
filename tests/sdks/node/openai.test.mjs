// The official `openai` package for Node.js: chats, and responses in the background.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import OpenAI from "openai";

const said = "The bridge is roofed with shining gold. ☂";
const messages = [{ role: "user", content: said }];
const root = process.env.GATEWAY_URL;

function connect(path = "/openai/v1", sent = []) {
  const counting = (...request) => {
    sent.push(request);
    return fetch(...request);
  };
  return new OpenAI({ apiKey: "dummy", baseURL: root + path, fetch: counting });
}

async function whenNot(statuses, client, id) {
  for (;;) {
    const response = await client.responses.retrieve(id);
    if (!statuses.includes(response.status)) return response;
    await pause(20);
  }
}

const whenOver = (...found) => whenNot(["queued", "in_progress"], ...found);

for (const [path, model] of [
  ["/v1", "mock/echo"],
  ["/openai/v1", "echo"],
  ["/litellm", "echo"],
  ["/langchain/openai/v1", "openai/echo"],
  ["/pydanticai/openai/v1", "mock/echo"],
]) {
  test(`a chat at ${path} is the same with and without a stream`, async () => {
    const client = connect(path);
    const whole = await client.chat.completions.create({ model, messages });
    const stream = await client.chat.completions.create({ model, messages, stream: true });
    const deltas = [];
    for await (const chunk of stream) deltas.push(chunk.choices[0]?.delta.content ?? "");
    assert.equal(whole.choices[0].message.content, said);
    assert.equal(deltas.join(""), said);
    assert.ok(deltas.length > 2);
  });
}

test("the SDK's accumulator finds the call of a tool in a stream", async () => {
  const parameters = { type: "object", properties: { city: { type: "string" } } };
  const tools = [{ type: "function", function: { name: "weather", parameters } }];
  const stream = connect().chat.completions.stream({ model: "tool", messages, tools });
  const whole = await stream.finalChatCompletion();
  const [call] = whole.choices[0].message.tool_calls;
  assert.equal(call.function.name, "weather");
  assert.deepEqual(JSON.parse(call.function.arguments), { city: said });
});

test("the SDK's accumulator finds the whole response in a stream", async () => {
  const stream = connect().responses.stream({ model: "echo", input: said });
  const response = await stream.finalResponse();
  assert.equal(response.status, "completed");
  assert.equal(response.output_text, said);
});

for (const path of ["/v1", "/openai/v1", "/litellm"]) {
  test(`a background response at ${path} is retrieved until it is done`, async () => {
    const client = connect(path);
    const begun = await client.responses.create({
      model: "mock/slow?seconds=0.1",
      input: said,
      background: true,
    });
    assert.equal(begun.status, "queued");
    assert.equal(begun.background, true);
    const response = await whenOver(client, begun.id);
    assert.equal(response.id, begun.id);
    assert.equal(response.status, "completed");
    assert.match(response.output_text, /^Hello!/);
  });
}

test("a background response is cancelled while it runs", async () => {
  const client = connect();
  const begun = await client.responses.create({
    model: "mock/slow?seconds=30",
    input: said,
    background: true,
  });
  const running = await whenNot(["queued"], client, begun.id);
  assert.equal(running.status, "in_progress");
  const cancelled = await client.responses.cancel(begun.id);
  assert.equal(cancelled.id, begun.id);
  const response = await whenOver(client, begun.id);
  assert.equal(response.status, "cancelled");
});

test("a response that failed says why and is not asked for again", async () => {
  const sent = [];
  const client = connect("/openai/v1", sent);
  const model = "mock/error?code=500";
  const begun = await client.responses.create({ model, input: said, background: true });
  const response = await whenOver(client, begun.id);
  assert.equal(response.status, "failed");
  assert.equal(response.error.code, "server_error");
  assert.match(response.error.message, /The mock answers 500/);
  sent.length = 0;
  await client.responses.retrieve(begun.id);
  assert.equal(sent.length, 1);
});

test("an unknown response is not found, and asked for once", async () => {
  const sent = [];
  const client = connect("/openai/v1", sent);
  await assert.rejects(client.responses.retrieve(`resp_${"0".repeat(32)}`), (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.match(error.message, /job not found or expired/);
    return true;
  });
  assert.equal(sent.length, 1);
});

test("a chat becomes a job by a header and is polled by another", async () => {
  const client = connect();
  const asking = { model: "mock/slow?seconds=0.1", messages };
  const create = (headers) => client.chat.completions.create(asking, { headers });
  const begun = await create({ "x-bf-async": "true" });
  assert.deepEqual(begun.choices, []);
  let answer = begun;
  while (answer.choices.length === 0) {
    await pause(20);
    answer = await create({ "x-bf-async-id": begun.id });
  }
  assert.match(answer.choices[0].message.content, /^Hello!/);
});

test("a wrong model is the SDK's bad request, with the gateway's message", async () => {
  const asking = connect("/v1").chat.completions.create({ model: "gpt-4", messages });
  await assert.rejects(asking, (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.match(error.message, /model should be in provider\/model format/);
    return true;
  });
});
