// The calls lane: evaluations and module calls, plain: JSON both ways and no pickle (docs/protocol.md, "The calls
// lane").

import { randomBytes } from "node:crypto";
import { Assembler } from "./fragments.js";
import { Lane } from "./lane.js";

export const OPERATION = {
  EVALUATE: 1, EXECUTE: 2, CALL: 3, GET: 4, PUSH: 5, PULL: 6, PING: 8, REFER: 34, NEXT: 37, RELEASE: 41,
};
export const OUTCOME = { RESULT: 1, ERROR: 2, STDOUT: 3, STDERR: 4, REFERENCE: 5 };
export const FORMAT = { PICKLE: 0, BYTES: 1, JSON: 2, JSON_AND_BUFFERS: 16 };
export const REQUEST_HEAD = 3;
export const ANSWER_HEAD = 10;
const PLAIN = 1;
const BUNDLE = Buffer.from([0xff]);

/** An exception of the far side. */
export class RemoteError extends Error {
  constructor({ ename, evalue, traceback, code }) {
    super(`${ename}: ${evalue}`);
    Object.assign(this, { ename, evalue, traceback, code });
  }
}

/** What stays over there; `root` names it in further calls. */
export class Reference {
  constructor({ epoch, number, kind, type, preview }) {
    Object.assign(this, { epoch, number, kind, type, preview, root: kind === "module" ? type : [epoch, number] });
  }
}

const NOT_JSON = { NaN, Infinity, "-Infinity": -Infinity };

/** Read a value as Python writes JSON: with NaN and the infinities as bare words. */
export function parseValue(bytes) {
  const text = bytes.toString();
  if (!/NaN|Infinity/.test(text)) return JSON.parse(text);
  const words = text.replace(/"(?:[^"\\]|\\.)*"|NaN|-?Infinity/g, (token) =>
    token in NOT_JSON ? `{"\\u0000":"${token}"}` : token,
  );
  return JSON.parse(words, (_, value) => (value?.["\u0000"] in NOT_JSON ? NOT_JSON[value["\u0000"]] : value));
}

/** Write a request: the head, then its operands as one JSON list. */
export function encodeRequest(operation, operands) {
  return [Buffer.from([operation, FORMAT.JSON, PLAIN]), JSON.stringify(operands)];
}

/** The number of a call, by that of the message that asks for it and its place there. */
export const callNumber = (message, place = 0) => message * 1024 + place;

/** Put messages of a head and one part each into one. */
export function bundle(messages) {
  return [Buffer.concat([BUNDLE, ...messages.map(([head]) => head)]), ...messages.map(([, part]) => part)];
}

/** Take a message apart into those it holds, which have heads of so many bytes. */
export function opened([first, ...parts], headBytes) {
  if (first[0] !== BUNDLE[0]) return [[first, ...parts]];
  if (!parts.length || first.length !== 1 + headBytes * parts.length) throw new Error("a bundle came damaged");
  return parts.map((part, place) => [first.subarray(1 + headBytes * place, 1 + headBytes * (place + 1)), part]);
}

/** Read an answer's head: `{outcome, format, call}`. */
export function decodeHead(head) {
  return { outcome: head[0], format: head[1], call: Number(head.readBigUInt64BE(2)) };
}

/** Read what follows an answer's head. */
export function decodeBody({ outcome, format }, parts) {
  if (outcome === OUTCOME.STDOUT || outcome === OUTCOME.STDERR) return parts[0].toString();
  if (outcome === OUTCOME.ERROR) return new RemoteError(JSON.parse(parts[0]));
  if (outcome === OUTCOME.REFERENCE) return new Reference(JSON.parse(parts[0]));
  if (format === FORMAT.BYTES) return parts[0];
  if (format === FORMAT.JSON) return parseValue(parts[0]);
  if (format === FORMAT.JSON_AND_BUFFERS) return { value: parseValue(parts[0]), buffers: parts.slice(1) };
  throw new Error(`a value came in a format that is unknown here (${format})`);
}

export class Calls {
  constructor(where, serverKey, keys, session, printed = () => undefined) {
    this.printed = printed;
    this.waiting = new Map(); // who waits for an answer, by the number of the call
    const conversation = randomBytes(16);
    const client = randomBytes(16);
    const toServer = () => [
      JSON.stringify({ versions: [1], lane: "calls", session: session.info.session, attachment: session.attachment }),
    ];
    const toWorker = () => [conversation, client];
    this.lane = new Lane(where, serverKey, keys, [toServer, toWorker]);
    this.assembler = new Assembler();
    this.lane.on("message", (parts) => {
      const whole = this.assembler.take(parts);
      if (whole !== null) for (const answer of opened(whole, ANSWER_HEAD)) this.take(answer);
    });
    this.lane.on("end", (error) => this.end(error));
  }

  open() {
    return this.lane.open();
  }

  /** Carry out an operation over there. */
  ask(operation, ...operands) {
    return new Promise((resolve, reject) => {
      this.waiting.set(callNumber(this.lane.say(encodeRequest(operation, operands))), { resolve, reject });
    });
  }

  /** Evaluate up to 64 expressions, side by side, which go in one message. */
  evaluateTogether(expressions) {
    const message = this.lane.say(bundle(expressions.map((text) => encodeRequest(OPERATION.EVALUATE, [text]))));
    return expressions.map(
      (_, place) =>
        new Promise((resolve, reject) => this.waiting.set(callNumber(message, place), { resolve, reject })),
    );
  }

  evaluate(expression) {
    return this.ask(OPERATION.EVALUATE, expression);
  }

  execute(code) {
    return this.ask(OPERATION.EXECUTE, code);
  }

  /** Call `root.path(...args, **kwargs)`; a root is a module's name or that of a reference. */
  call(root, path, args = [], kwargs = {}) {
    return this.ask(OPERATION.CALL, root, path, args, kwargs);
  }

  close() {
    return this.lane.close();
  }

  take([first, ...parts]) {
    const head = decodeHead(first);
    let value;
    try {
      value = decodeBody(head, parts);
    } catch (error) {
      value = error; // it concerns this call alone
    }
    if (head.outcome === OUTCOME.STDOUT || head.outcome === OUTCOME.STDERR) {
      this.printed(value, head.outcome === OUTCOME.STDERR);
      return;
    }
    const asker = this.waiting.get(head.call);
    this.waiting.delete(head.call);
    if (value instanceof Error) asker?.reject(value);
    else asker?.resolve(value);
  }

  end(error) {
    for (const waiter of this.waiting.values()) waiter.reject(error);
    this.waiting.clear();
  }
}
