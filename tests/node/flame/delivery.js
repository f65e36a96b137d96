// One conversation: what was said and is not acknowledged yet, and how far was heard (docs/protocol.md, "Delivery").
// It knows nothing of connections but that they come and go.

const WINDOW_MESSAGES = 256;
const WINDOW_BYTES = 16 * 1024 * 1024;

const weigh = (parts) => parts.reduce((sum, part) => sum + Buffer.byteLength(part), 0);

export class Conversation {
  constructor() {
    this.heard = 0; // the highest number that came without a hole
    this.said = 0;
    this.kept = []; // what is not acknowledged, oldest first
    this.next = 1; // the number of what goes out next on this connection
  }

  /** Number a message and keep it until it is acknowledged. */
  say(parts) {
    this.said += 1;
    this.kept.push({ number: this.said, parts, bytes: weigh(parts) });
    return this.said;
  }

  /** Take what is to be sent now, within the window. */
  due() {
    const out = [];
    let messages = 0;
    let bytes = 0;
    for (const message of this.kept) {
      if (message.number < this.next) {
        messages += 1;
        bytes += message.bytes;
        continue;
      }
      if (messages > 0 && (messages >= WINDOW_MESSAGES || bytes >= WINDOW_BYTES)) break;
      out.push(message);
      messages += 1;
      bytes += message.bytes;
      this.next = message.number + 1;
    }
    return out;
  }

  /** Take an acknowledgement: it covers every message up to that number. */
  acknowledged(number) {
    if (number >= this.next) throw new Error("the other end acknowledges what was never sent");
    this.kept = this.kept.filter((message) => message.number > number);
  }

  /** Begin anew on a new connection: what the other end has not heard is due again. */
  resume(number) {
    this.acknowledged(number);
    this.next = number + 1;
  }

  /** Tell what to do with message `number`: "take" it, "drop" it (it was heard before), or "greet" (one is missing). */
  hear(number) {
    if (number <= this.heard) return "drop";
    if (number > this.heard + 1) return "greet";
    this.heard = number;
    return "take";
  }

  /** The messages up to `number` will never come; gives how many of them are lost. */
  gap(number) {
    const lost = Math.max(0, number - this.heard);
    this.heard = Math.max(this.heard, number);
    return lost;
  }
}
