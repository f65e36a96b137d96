// This client at a real server, over TCP with CURVE. FLAME_INVITE is an open invite, FLAME_USED_INVITE a used one.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { OPERATION, Reference } from "./flame/calls.js";
import { connect, enrol } from "./flame/client.js";
import { keyPair } from "./flame/keys.js";

let server;
let flame;
const printed = [];

before(async () => {
  server = await enrol(process.env.FLAME_INVITE);
  flame = await connect(server, { printed: (text, isError) => printed.push([text, isError]) });
});

after(() => flame?.close());

/** Wait until something is true that nothing tells of. */
async function until(condition) {
  for (const end = Date.now() + 30_000; !(await condition()); ) {
    assert.ok(Date.now() < end, "it did not come true");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

test("the server tells which session it is", () => {
  const { version, language, calls, state, role } = flame.session.info;
  assert.deepEqual([version, language, calls, state, role], [1, "python", true, "ready", "admin"]);
});

test("an expression", async () => {
  assert.equal(await flame.calls.evaluate("2 ** 10"), 1024);
  assert.deepEqual(await flame.calls.evaluate("[None, True, 1.5, 'ü', {'a': (1, 2)}]"), [null, true, 1.5, "ü", { a: [1, 2] }]);
  assert.deepEqual(await flame.calls.evaluate("[float('nan'), float('-inf'), 'NaN']"), [NaN, -Infinity, "NaN"]);
});

test("a large value, which comes in several messages", async () => {
  const text = await flame.calls.evaluate("'abc' * 1_500_000 + 'end'");
  assert.equal(text.length, 4_500_003);
  assert.ok(text.startsWith("abcabc") && text.endsWith("cend"));
});

test("a large operand, which may come as one message", async () => {
  assert.equal(await flame.calls.call("builtins", "len", ["x".repeat(3_000_000)]), 3_000_000);
});

test("a module's function, with keywords too", async () => {
  assert.equal(await flame.calls.call("os", "path.join", ["a", "b"]), "a/b");
  assert.deepEqual(await flame.calls.call("builtins", "sorted", [[3, 1, 2]], { reverse: true }), [3, 2, 1]);
});

test("variables, which cells see as well", async () => {
  await flame.calls.ask(OPERATION.PUSH, "x", { a: [1, 2] });
  await flame.calls.execute("y = x['a'][1] + 1");
  assert.equal(await flame.calls.ask(OPERATION.PULL, "y"), 3);
  const [output] = await flame.session.run("x['a'] + [y]");
  assert.equal(output.data["text/plain"], "[1, 2, 3]");
});

test("what a call prints comes before its answer", async () => {
  printed.length = 0;
  await flame.calls.execute("import sys; print('grüße'); print('oh', file=sys.stderr)");
  const text = (wanted) => printed.filter(([, isError]) => isError === wanted).map(([said]) => said).join("");
  assert.equal(text(false), "grüße\n");
  assert.equal(text(true), "oh\n");
});

test("an exception: type, text and remote traceback", async () => {
  await flame.calls.execute("def divide(a, b):\n    return a / b");
  await assert.rejects(flame.calls.evaluate("divide(1, 0)"), (error) => {
    assert.equal(error.ename, "ZeroDivisionError");
    assert.equal(error.evalue, "division by zero");
    assert.match(error.traceback, /^Traceback \(most recent call last\):\n/);
    assert.match(error.traceback, /in divide\n {4}return a \/ b\n/);
    assert.equal(error.code, "");
    return true;
  });
});

test("what JSON has no form for is refused, and can stay there", async () => {
  await assert.rejects(flame.calls.evaluate("object()"), { code: "serialization" });
  const lines = await flame.calls.ask(OPERATION.REFER, "__import__('io').StringIO()");
  assert.ok(lines instanceof Reference);
  assert.equal(lines.type, "_io.StringIO");
  assert.equal(await flame.calls.call(lines.root, "write", ["text"]), 4);
  assert.equal(await flame.calls.call(lines.root, "getvalue"), "text");
  await flame.calls.ask(OPERATION.RELEASE, [[lines.root[1], 1]]);
  await assert.rejects(flame.calls.call(lines.root, "getvalue"), { code: "unknown-handle" });
});

test("an iterator's items", async () => {
  const squares = await flame.calls.evaluate("(n * n for n in range(5))");
  assert.equal(squares.kind, "iterator");
  const [done, , , items] = await flame.calls.ask(OPERATION.NEXT, squares.root, 3);
  assert.deepEqual([done, items], [false, [0, 1, 4]]);
  assert.deepEqual((await flame.calls.ask(OPERATION.NEXT, squares.root, 3)).slice(2), [false, [9, 16]]);
});

test("a cell's outputs", async () => {
  const outputs = await flame.session.run(
    "print('one')\nfrom IPython.display import display, HTML\ndisplay(HTML('<b>two</b>'))\n1 + 2",
  );
  assert.deepEqual(outputs.map((output) => output.output_type), ["stream", "display_data", "execute_result"]);
  assert.equal(outputs[0].text, "one\n");
  assert.equal(outputs[1].data["text/html"], "<b>two</b>");
  assert.equal(outputs[2].data["text/plain"], "3");
});

test("a cell's exception", async () => {
  await assert.rejects(flame.session.run("{}['missing']"), (error) => {
    assert.equal(error.ename, "KeyError");
    assert.equal(error.evalue, "'missing'");
    assert.match(error.traceback.join("\n"), /missing/);
    return true;
  });
});

test("a cell that asks", async () => {
  const outputs = await flame.session.run("print(input('name? '))", { input: (prompt) => `${prompt}ada` });
  assert.equal(outputs[0].text, "name? ada\n");
});

test("large values both ways, in packets of several frames", async () => {
  await flame.calls.ask(OPERATION.PUSH, "large", "ü".repeat(3_000_000));
  assert.equal(await flame.calls.evaluate("len(large)"), 3_000_000);
  assert.equal((await flame.calls.ask(OPERATION.PULL, "large")).length, 3_000_000);
});

test("many calls at a time, beyond the window", async () => {
  const answers = await Promise.all(Array.from({ length: 600 }, (_, n) => flame.calls.evaluate(`${n} * 2`)));
  assert.deepEqual(answers, Array.from({ length: 600 }, (_, n) => n * 2));
});

test("calls that go in one message are answered each by itself", async () => {
  await flame.calls.execute("import threading; last = threading.Event()");
  const [first, failed, ...others] = await Promise.allSettled(
    flame.calls.evaluateTogether(["last.wait(20)", "1 // 0", "6 * 7", "last.set()"]),
  );
  assert.equal(failed.reason.ename, "ZeroDivisionError");
  assert.deepEqual([first, ...others].map(({ value }) => value), [true, 42, null]);
});

test("an interrupt ends a cell that runs", async () => {
  const cell = flame.session.run("print('begun', flush=True)\nimport time\nwhile True: time.sleep(0.01)");
  await until(() => [...flame.session.cells.values()][0].outputs.length > 0);
  await flame.session.ask("interrupt");
  await assert.rejects(cell, { ename: "KeyboardInterrupt" });
});

test("requests about sessions, and one that is refused", async () => {
  const { sessions } = await flame.session.ask("sessions");
  assert.ok(sessions.some(({ name }) => name === flame.session.info.session));
  const { kernels } = await flame.session.ask("kernels");
  assert.ok(kernels.some(({ name, language }) => name === "python3" && language === "python"));
  await assert.rejects(flame.session.ask("close", { session: "none of that name" }), { code: "unknown-session" });
});

test("nothing is lost over a cut in the middle of a cell", async () => {
  await flame.calls.execute("import threading; gate = threading.Event()");
  const cell = flame.session.run("for n in range(50): print(n)\ngate.wait()\nprint('after')");
  await until(() => [...flame.session.cells.values()][0].outputs.length > 0);
  flame.session.lane.cut();
  await flame.calls.execute("gate.set()");
  await flame.session.lane.open();
  const text = (await cell).map((output) => output.text).join("");
  assert.equal(text, `${Array.from({ length: 50 }, (_, n) => `${n}\n`).join("")}after\n`);
});

test("a call that was said before a cut runs once, and its answer comes after it", async () => {
  await flame.calls.execute("times = []; going = threading.Event()");
  const call = flame.calls.evaluate("(times.append(1), going.wait(), len(times))[2]");
  await until(async () => (await flame.session.run("len(times)"))[0].data["text/plain"] === "1");
  flame.calls.lane.cut();
  await flame.session.run("going.set()");
  await flame.calls.lane.open();
  assert.equal(await call, 1);
});

test("a restart takes what ran, and the lane comes back to the new process", async () => {
  const other = await connect(server);
  const { pid } = other.session.info;
  const lost = other.calls.evaluate("__import__('threading').Event().wait()");
  const ended = assert.rejects(lost, { code: "session-restarted" });
  await other.session.ask("restart");
  await ended;
  await assert.rejects(other.calls.evaluate("1"), { code: "session-restarted" });
  assert.notEqual((await other.session.run("import os; os.getpid()"))[0].data["text/plain"], String(pid));
  await other.close();
});

test("who is not admitted does not get through the handshake", async () => {
  await assert.rejects(connect({ ...server, keys: keyPair() }), { code: "key-refused" });
});

test("a used invite is refused in words", async () => {
  await assert.rejects(enrol(process.env.FLAME_USED_INVITE), (error) => {
    assert.equal(error.code, "invite");
    assert.match(error.message, /used already/);
    return true;
  });
});

test("a session that is not there", async () => {
  const unknown = connect(server, { session: "none", existing: true });
  await assert.rejects(unknown, { code: "unknown-session" });
});
