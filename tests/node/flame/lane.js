// A lane: one DEALER socket at a time to the server, and the conversation that outlives it.

import { EventEmitter } from "node:events";
import { Dealer } from "zeromq";
import { Conversation } from "./delivery.js";
import { z85 } from "./keys.js";
import { KIND, decode, encode } from "./packets.js";

const PING_MS = 5_000;
const SILENCE_MS = 15_000;
const HANDSHAKE_MS = 10_000;

/** What was refused, or went wrong between client and server: `code` is one of docs/protocol.md, "Errors". */
export class FlameError extends Error {
  constructor({ code, message }) {
    super(message);
    this.code = code;
  }
}

/**
 * Emits "message" with the parts of each numbered message, "gap" with how many are lost, and "end" with an error when
 * the lane is of no use any more.
 *
 * @param where `host:port`
 * @param serverKey the server's public key, 32 bytes
 * @param keys the client's own pair
 * @param greetings what gives the parts of each HELLO in turn, told whether the conversation began on an earlier
 *   connection; the last one's WELCOME is that of the conversation's other end
 */
export class Lane extends EventEmitter {
  constructor(where, serverKey, keys, greetings) {
    super();
    Object.assign(this, { where, serverKey, keys, greetings });
    this.conversation = new Conversation();
    this.resumed = false;
    this.ready = false;
    this.ended = null;
  }

  /** Connect and greet; gives what the parts of the WELCOMEs were. Called again it goes on after a cut. */
  async open() {
    const welcomed = this.settled();
    this.socket = new Dealer({
      linger: 1_000,
      immediate: true, // what can't leave now must not leave on a later connection, before its HELLO
      handshakeInterval: HANDSHAKE_MS,
      curveServerKey: z85(this.serverKey),
      curvePublicKey: z85(this.keys.public),
      curveSecretKey: z85(this.keys.secret),
    });
    this.sending = Promise.resolve();
    const refused = { code: "key-refused", message: `${this.where} does not admit this client's key` };
    this.socket.events.on("handshake:error:auth", () => this.end(new FlameError(refused)));
    this.socket.connect(`tcp://${this.where}`);
    this.heardAt = Date.now();
    this.clock = setInterval(() => this.tick(), PING_MS);
    this.listen(this.socket);
    this.greet();
    return welcomed;
  }

  /** Say a message; it arrives once, whatever happens to the connection. Gives its number. */
  say(parts) {
    if (this.ended !== null) throw this.ended;
    const number = this.conversation.say(parts);
    this.flush();
    return number;
  }

  /** Let go of the connection, as a network does; `open` goes on with the conversation. */
  cut() {
    clearInterval(this.clock);
    this.ready = false;
    this.socket.close();
  }

  /** End the conversation for good. */
  async close() {
    if (this.ended !== null) return;
    this.transmit(KIND.BYE);
    await this.sending;
    this.end(new FlameError({ code: "link-lost", message: "this lane was closed" }));
  }

  settled() {
    return new Promise((resolve, reject) => {
      const end = (error) => {
        this.off("ready", ready);
        reject(error);
      };
      const ready = (welcomes) => {
        this.off("end", end);
        resolve(welcomes);
      };
      this.once("ready", ready);
      this.once("end", end);
    });
  }

  greet() {
    this.ready = false;
    this.welcomes = [];
    this.transmit(KIND.HELLO, this.greetings[0](this.resumed));
  }

  /** What the server answers is taken again from its start: a RESET on the way back does not say who has sent it. */
  reset() {
    if (this.greetings.length === 1) {
      this.greet();
      return;
    }
    this.cut();
    this.open().catch(() => undefined); // whoever listens for "end" hears of it
  }

  transmit(kind, parts = [], number = 0) {
    const { socket } = this;
    const frames = encode(kind, parts, { number, ack: this.conversation.heard });
    // One after the other: the socket takes no second message while it is sending. What fails to leave is sent again.
    this.sending = this.sending.then(() => (socket.closed ? undefined : socket.send(frames))).catch(() => undefined);
  }

  flush() {
    if (!this.ready) return;
    for (const { number, parts } of this.conversation.due()) this.transmit(KIND.DATA, parts, number);
  }

  async listen(socket) {
    try {
      for await (const frames of socket) {
        if (socket !== this.socket || this.ended !== null) return;
        this.heardAt = Date.now();
        this.take(decode(frames));
      }
    } catch (error) {
      if (socket === this.socket && !socket.closed) this.end(error);
    }
  }

  take({ kind, number, ack, parts }) {
    switch (kind) {
      case KIND.WELCOME:
        this.welcome(ack, parts);
        break;
      case KIND.REFUSED:
        this.end(new FlameError(JSON.parse(parts[0])));
        break;
      case KIND.RESET:
        this.reset();
        break;
      case KIND.DATA:
        this.conversation.acknowledged(ack);
        this.flush();
        this.hear(number, parts);
        break;
      case KIND.GAP: {
        const lost = this.conversation.gap(number);
        if (lost > 0) this.emit("gap", lost);
        break;
      }
      case KIND.ACK:
      case KIND.PONG:
        this.conversation.acknowledged(ack);
        this.flush();
        break;
      default:
    }
  }

  welcome(ack, parts) {
    this.welcomes.push(parts);
    if (this.welcomes.length < this.greetings.length) {
      this.transmit(KIND.HELLO, this.greetings[this.welcomes.length](this.resumed));
      return;
    }
    if (this.resumed && this.epoch !== undefined && !parts[0].equals(this.epoch)) {
      const message = "the session was restarted: what was under way is lost";
      this.end(new FlameError({ code: "session-restarted", message }));
      return;
    }
    this.epoch = this.greetings.length > 1 ? parts[0] : undefined; // the worker's: it tells its process
    this.conversation.resume(ack);
    this.resumed = true;
    this.ready = true;
    this.flush();
    this.emit("ready", this.welcomes);
  }

  hear(number, parts) {
    const verdict = this.conversation.hear(number);
    if (verdict === "greet") {
      this.reset();
      return;
    }
    this.transmit(KIND.ACK);
    if (verdict === "take") this.emit("message", parts);
  }

  tick() {
    if (Date.now() - this.heardAt > SILENCE_MS) {
      this.cut();
      this.open().catch(() => undefined); // whoever listens for "end" hears of it
    } else {
      this.transmit(KIND.PING);
    }
  }

  end(error) {
    if (this.ended !== null) return;
    this.ended = error;
    this.cut();
    this.emit("end", error);
  }
}
