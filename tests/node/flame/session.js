// The session lane: cells, and requests about the session (docs/protocol.md, "The session lane").

import { randomBytes, randomUUID } from "node:crypto";
import { FlameError, Lane } from "./lane.js";

const DELIMITER = Buffer.from("<IDS|MSG>");
const OUTPUTS = new Set(["stream", "display_data", "execute_result", "error"]);

/** A cell's exception. */
export class CellError extends Error {
  constructor({ ename, evalue, traceback }) {
    super(`${ename}: ${evalue}`);
    Object.assign(this, { ename, evalue, traceback });
  }
}

/** Write a Jupyter message as the parts of a numbered message. */
export function toLink(channel, { identities = [], header, parent = {}, metadata = {}, content, buffers = [] }) {
  const json = [header, parent, metadata, content].map((part) => JSON.stringify(part));
  return [channel, ...identities, DELIMITER, ...json, ...buffers];
}

/** Read the parts of a numbered message as a Jupyter message. */
export function fromLink([channel, ...parts]) {
  const at = parts.findIndex((part) => part.equals(DELIMITER));
  const [header, parent, metadata, content] = parts.slice(at + 1, at + 5).map((part) => JSON.parse(part));
  const buffers = parts.slice(at + 5);
  return { channel: channel.toString(), identities: parts.slice(0, at), header, parent, metadata, content, buffers };
}

export class Session {
  constructor(where, serverKey, keys, { session = "", client = "node", existing = false } = {}) {
    this.attachment = randomBytes(16).toString("hex");
    this.asked = 0;
    this.waiting = new Map(); // who waits for the answer to a request, by its id
    this.cells = new Map(); // the cells that run, by their msg_id
    const { attachment } = this;
    const greeting = (resumed) => {
      const name = this.info?.session ?? session; // as the server calls it
      return [JSON.stringify({ versions: [1], lane: "session", attachment, session: name, client, existing, resumed })];
    };
    this.lane = new Lane(where, serverKey, keys, [greeting]);
    this.lane.on("message", (parts) => this.take(parts));
    this.lane.on("end", (error) => this.end(error));
  }

  /** Attach; gives what the server says of the session. */
  async open() {
    const [[welcome]] = await this.lane.open();
    this.info = JSON.parse(welcome);
    return this.info;
  }

  /** Run a cell; gives its outputs as a notebook holds them, or throws its exception. `input` answers what it asks. */
  run(code, { input } = {}) {
    const header = {
      msg_id: randomUUID(),
      msg_type: "execute_request",
      session: this.attachment,
      username: "node",
      date: new Date().toISOString(),
      version: "5.4",
    };
    const asks = input !== undefined;
    const content = { code, silent: false, store_history: true, user_expressions: {}, allow_stdin: asks };
    return new Promise((resolve, reject) => {
      this.cells.set(header.msg_id, { header, input, outputs: [], reply: null, idle: false, resolve, reject });
      this.lane.say(toLink("shell", { header, content }));
    });
  }

  /** Ask for something about the session: `interrupt`, `sessions`, … */
  ask(type, fields = {}) {
    this.asked += 1;
    const id = this.asked;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.lane.say(["flame", JSON.stringify({ type, id, ...fields })]);
    });
  }

  close() {
    return this.lane.close();
  }

  take(parts) {
    if (parts[0].toString() === "flame") {
      this.answer(JSON.parse(parts[1]));
      return;
    }
    const message = fromLink(parts);
    const cell = this.cells.get(message.parent.msg_id);
    if (cell === undefined) return;
    this.output(cell, message);
    if (cell.reply === null || !cell.idle) return; // its reply and its outputs come on channels of their own
    this.cells.delete(message.parent.msg_id);
    if (cell.reply.status === "ok") cell.resolve(cell.outputs);
    else cell.reject(new CellError(cell.reply));
  }

  output(cell, { header: { msg_type: type, ...header }, identities, content }) {
    if (type === "input_request") {
      const answer = { ...cell.header, msg_id: randomUUID(), msg_type: "input_reply" };
      const value = cell.input(content.prompt);
      const parent = { ...header, msg_type: type };
      this.lane.say(toLink("stdin", { identities, header: answer, parent, content: { status: "ok", value } }));
    } else if (type === "execute_reply") {
      cell.reply = content;
    } else if (type === "status") {
      cell.idle = content.execution_state === "idle";
    } else if (OUTPUTS.has(type)) {
      cell.outputs.push({ output_type: type, ...content });
    }
  }

  answer(message) {
    const asker = this.waiting.get(message.id);
    this.waiting.delete(message.id);
    if (message.type === "done") asker?.resolve(message);
    else if (message.type === "failed") asker?.reject(new FlameError(message.why));
    else if (message.type === "died") this.end(new FlameError({ code: "session-died", message: message.cause }));
    else if (message.type === "ended") this.end(new FlameError({ code: "session", message: "the session was ended" }));
  }

  end(error) {
    for (const waiter of [...this.waiting.values(), ...this.cells.values()]) waiter.reject(error);
    this.waiting.clear();
    this.cells.clear();
  }
}
