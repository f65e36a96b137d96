// The test vectors of tests/vectors, read by an implementation that shares no code with the one that wrote them.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import {
  ANSWER_HEAD, FORMAT, OPERATION, OUTCOME, REQUEST_HEAD, bundle, callNumber, decodeBody, decodeHead, encodeRequest, opened,
} from "./flame/calls.js";
import { Conversation } from "./flame/delivery.js";
import { Assembler } from "./flame/fragments.js";
import { parseInvite, z85 } from "./flame/keys.js";
import { KIND, decode, encode } from "./flame/packets.js";
import { fromLink, toLink } from "./flame/session.js";

const PLAIN = 1;

const read = (name) => JSON.parse(readFileSync(new URL(`../vectors/${name}.json`, import.meta.url)));

/** Read bytes as the vectors hold them. */
function bytes(written) {
  if (typeof written === "string") return Buffer.from(written, "hex");
  return Buffer.concat(
    written.map((piece) =>
      typeof piece === "string" ? Buffer.from(piece, "hex") : Buffer.alloc(piece.times, piece.hex, "hex"),
    ),
  );
}

function assertSameBytes(found, expected) {
  assert.equal(found.length, expected.length);
  found.forEach((buffer, index) => assert.ok(Buffer.from(buffer).equals(bytes(expected[index])), `number ${index}`));
}

function assertDecoded(vector) {
  const packet = decode(vector.frames.map(bytes));
  assert.equal(packet.kind, KIND[vector.kind]);
  assert.equal(packet.kind, vector.code);
  assert.equal(packet.number, vector.number);
  assert.equal(packet.ack, vector.ack);
  assertSameBytes(packet.parts, vector.parts);
  return packet;
}

const { packets, divided, invalid } = read("packets");

for (const vector of packets) {
  test(`packet both ways: ${vector.name}`, () => {
    assertDecoded(vector);
    assertSameBytes(encode(vector.code, vector.parts.map(bytes), vector), vector.frames);
  });
}

for (const vector of divided) test(`packet read: ${vector.name}`, () => void assertDecoded(vector));

for (const { name, frames } of invalid) {
  test(`no packet: ${name}`, () => assert.throws(() => decode(frames.map(bytes)), Error));
}

const { receivers, senders } = read("delivery");
const VERDICT = { new: "take", duplicate: "drop", hole: "greet" };

for (const { name, steps } of receivers) {
  test(`delivery, receiving: ${name}`, () => {
    const conversation = new Conversation();
    for (const step of steps) {
      if ("gap" in step) assert.equal(conversation.gap(step.gap), step.lost);
      else assert.equal(conversation.hear(step.message), VERDICT[step.verdict]);
      assert.equal(conversation.heard, step.received);
    }
  });
}

for (const { name, steps } of senders) {
  test(`delivery, sending: ${name}`, () => {
    const conversation = new Conversation();
    const act = {
      push: (step) => {
        for (let index = 0; index < step.times; index += 1) {
          assert.equal(conversation.say([Buffer.alloc(step.bytes)]), step.from + index);
        }
      },
      due: (step) => assert.deepEqual(conversation.due().map(({ number }) => number), step.gives),
      acknowledge: ({ number }) => conversation.acknowledged(number),
      resume: ({ number }) => conversation.resume(number),
    };
    for (const step of steps) {
      if (step.error === undefined) act[step.do](step);
      else assert.throws(() => act[step.do](step), Error);
    }
  });
}

test("messages are JSON", () => {
  for (const { bytes: written, json } of read("messages").messages) assert.deepEqual(JSON.parse(bytes(written)), json);
});

test("Jupyter messages both ways", () => {
  for (const { parts, ...vector } of read("jupyter").messages) {
    const { identities, buffers, ...json } = fromLink(parts.map(bytes));
    const { identities: expected, buffers: beside, ...fields } = vector;
    assert.deepEqual(json, fields);
    assertSameBytes(identities, expected);
    assertSameBytes(buffers, beside);
    assertSameBytes(toLink(vector.channel, { ...json, identities, buffers }), parts);
  }
});

const calls = read("calls");

test("calls: the numbers of operations, outcomes and formats", () => {
  for (const [name, number] of Object.entries(OPERATION)) assert.equal(number, calls.operations[name], name);
  for (const [name, number] of Object.entries(OUTCOME)) assert.equal(number, calls.outcomes[name], name);
  for (const number of Object.values(FORMAT)) assert.ok(Object.values(calls.formats).includes(number), String(number));
});

for (const { name, operation, format, flags, operands, parts } of calls.requests) {
  if (format !== FORMAT.JSON || flags !== PLAIN) continue; // what this client does not say
  test(`request: ${name}`, () => {
    const [head, body] = encodeRequest(calls.operations[operation], operands);
    assert.ok(head.equals(bytes(parts[0])));
    assert.deepEqual(JSON.parse(body), JSON.parse(bytes(parts[1])));
  });
}

/** Write a value as the vectors hold it. */
function written(value) {
  if (typeof value === "number" && !Number.isFinite(value)) return String(value).replace("Infinity", "inf").toLowerCase();
  if (Buffer.isBuffer(value)) return value.toString("hex");
  if (Array.isArray(value)) return value.map(written);
  if (value instanceof Error) return { ename: value.ename, evalue: value.evalue, traceback: value.traceback, code: value.code };
  if (typeof value === "object" && value !== null) {
    const { root, ...fields } = value;
    return Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, written(field)]));
  }
  return value;
}

for (const { name, outcome, call, format, value, parts } of calls.answers) {
  if (!(outcome in OUTCOME)) continue; // what this client has no use for
  test(`answer: ${name}`, () => {
    const [first, ...rest] = parts.map(bytes);
    const head = decodeHead(first);
    assert.deepEqual(head, { outcome: OUTCOME[outcome], format, call });
    assert.deepEqual(written(decodeBody(head, rest)), value);
  });
}

for (const { name, head, parts, holds } of calls.bundles) {
  test(`bundle: ${name}`, () => {
    const found = opened(parts.map(bytes), head);
    assert.equal(found.length, holds.length);
    found.forEach((message, index) => assertSameBytes(message, holds[index].parts));
    assertSameBytes(bundle(found), parts);
    if (head === REQUEST_HEAD) holds.forEach(({ call }, place) => assert.equal(call, callNumber(7, place)));
    if (head === ANSWER_HEAD) holds.forEach(({ call }, index) => assert.equal(call, decodeHead(found[index][0]).call));
  });
}

test("damaged bundles are noticed", () => {
  for (const { parts } of calls.invalid) assert.throws(() => opened(parts.map(bytes), REQUEST_HEAD), Error);
});

const { invites, damaged } = read("invites");

for (const vector of invites) {
  test(`invite to ${vector.host}`, () => {
    const invite = parseInvite(vector.invite);
    assert.equal(invite.host, vector.host);
    assert.equal(invite.port, vector.port);
    assert.equal(invite.serverKey.toString("hex"), vector.server_public);
    assert.equal(invite.once.secret.toString("hex"), vector.once_secret);
    assert.equal(invite.once.public.toString("hex"), vector.once_public);
    assert.equal(z85(invite.once.public), vector.once_public_z85);
  });
}

test("damaged invites are noticed", () => {
  for (const text of damaged) assert.throws(() => parseInvite(text), Error);
});

for (const { name, packets: said } of read("conversations").conversations) {
  test(`conversation: ${name}`, () => {
    // What the client says has to acknowledge what it has heard by then, and the other way round.
    const heard = { client: new Conversation(), server: new Conversation() };
    const other = { client: "server", server: "client" };
    for (const vector of said) {
      const packet = assertDecoded(vector);
      if (vector.kind === "RESET" || vector.kind === "REFUSED") assert.equal(packet.ack, 0);
      else assert.equal(packet.ack, heard[vector.from].heard, vector.name);
      if (vector.kind !== "DATA" || vector.name.endsWith("(lost on the way)")) continue;
      assert.equal(heard[other[vector.from]].hear(packet.number), "take", vector.name);
    }
  });
}

const pieces = read("fragments");

for (const { name, parts, messages } of pieces.fragments) {
  test(`fragments: ${name}`, () => {
    const assembler = new Assembler();
    const taken = messages.map((message) => assembler.take(message.map(bytes)));
    assert.ok(taken.slice(0, -1).every((whole) => whole === null));
    assertSameBytes(taken.at(-1), parts);
  });
}

for (const { name, messages } of pieces.invalid) {
  test(`no fragments: ${name}`, () => {
    const assembler = new Assembler();
    assert.throws(() => messages.forEach((message) => assembler.take(message.map(bytes))), Error);
  });
}
