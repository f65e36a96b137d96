// Large messages of a calls lane come in several (docs/protocol.md, "The calls lane").

const READ_ONLY = 1n << 63n; // of no use here: a Buffer can always be written to

export class Assembler {
  constructor() {
    this.parts = null; // of the message that is being put together
  }

  /** Take the next message; gives the parts of one that is whole now, or null. */
  take(parts) {
    const marked = parts.length > 0 && parts[0][0] === 0;
    if (this.parts === null) {
      if (!marked) return parts;
      if (parts.length !== 1 || parts[0].length % 8 !== 1) throw new Error("an opening came damaged");
      this.begin(parts[0].subarray(1));
    } else {
      if (!marked || parts[0].length !== 1) throw new Error("a message came in the middle of another one's pieces");
      for (const chunk of parts.slice(1)) this.put(chunk);
    }
    if (this.missing > 0) return null;
    const whole = this.parts;
    this.parts = null;
    return whole;
  }

  begin(table) {
    const lengths = Array.from({ length: table.length / 8 }, (_, at) => Number(table.readBigUInt64BE(8 * at) & ~READ_ONLY));
    this.parts = lengths.map((length) => Buffer.alloc(length));
    this.missing = lengths.reduce((sum, length) => sum + length, 0);
    this.which = 0;
    this.at = 0;
  }

  put(chunk) {
    while (this.which < this.parts.length && this.at === this.parts[this.which].length) {
      this.which += 1;
      this.at = 0;
    }
    const part = this.parts[this.which];
    if (part === undefined || chunk.length === 0 || chunk.length > part.length - this.at) {
      throw new Error("a piece came that is not as long as announced");
    }
    Buffer.from(chunk).copy(part, this.at);
    this.at += chunk.length;
    this.missing -= chunk.length;
  }
}
