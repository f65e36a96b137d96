// Packets: a kind, two counters and parts, as the frames of one ZeroMQ message (docs/protocol.md, "Packets").

export const KIND = {
  HELLO: 1, WELCOME: 2, REFUSED: 3, DATA: 4, ACK: 5, GAP: 6, PING: 7, PONG: 8, RESET: 9, BYE: 10, ROW: 11,
};

const MAGIC = 0xf1;
const HEAD = 20;
const APART = 1n << 63n;
const MAX_PARTS = 4096;
const OWN_FRAMES = 16 * 1024;
const FRAME = 1024 * 1024;

/** Turn a packet into frames. Numbers are plain numbers: 2 ** 53 messages are more than a conversation has. */
export function encode(kind, parts = [], { number = 0, ack = 0 } = {}) {
  if (parts.length > MAX_PARTS) throw new Error("a packet has too many parts");
  const buffers = parts.map((part) => Buffer.from(part));
  const head = Buffer.alloc(HEAD + 8 * buffers.length);
  head.writeUInt8(MAGIC, 0);
  head.writeUInt8(kind, 1);
  head.writeBigUInt64BE(BigInt(number), 2);
  head.writeBigUInt64BE(BigInt(ack), 10);
  head.writeUInt16BE(buffers.length, 18);
  const inline = [head];
  const apart = [];
  let together = 0;
  buffers.forEach((part, index) => {
    const own = part.length >= OWN_FRAMES || together + part.length > FRAME;
    head.writeBigUInt64BE(BigInt(part.length) | (own ? APART : 0n), HEAD + 8 * index);
    if (!own) {
      inline.push(part);
      together += part.length;
      return;
    }
    for (let at = 0; at < part.length; at += FRAME) apart.push(part.subarray(at, at + FRAME));
  });
  return [Buffer.concat(inline), ...apart];
}

/** Turn frames into a packet `{kind, number, ack, parts}`. */
export function decode(frames) {
  const [first, ...others] = frames;
  if (first === undefined || first.length < HEAD || first[0] !== MAGIC) throw new Error("that is no packet");
  if (!Object.values(KIND).includes(first[1])) throw new Error("that is a packet of an unknown kind");
  const count = first.readUInt16BE(18);
  if (count > MAX_PARTS) throw new Error("a packet has too many parts");
  let at = HEAD + 8 * count;
  let next = 0;
  const parts = [];
  for (let index = 0; index < count; index += 1) {
    const entry = first.readBigUInt64BE(HEAD + 8 * index);
    const length = Number(entry & ~APART);
    if ((entry & APART) === 0n) {
      parts.push(first.subarray(at, at + length));
      at += length;
    } else {
      const pieces = [];
      for (let missing = length; missing > 0; next += 1) {
        if (next === others.length) throw new Error("a part is shorter than the packet says");
        if (others[next].length === 0) throw new Error("a frame is empty");
        pieces.push(others[next]);
        missing -= others[next].length;
      }
      parts.push(Buffer.concat(pieces));
    }
    if (parts[index].length !== length) throw new Error("a part is not as long as the packet says");
  }
  if (at !== first.length || next !== others.length) throw new Error("a packet has more bytes than it says");
  return {
    kind: first[1],
    number: Number(first.readBigUInt64BE(2)),
    ack: Number(first.readBigUInt64BE(10)),
    parts,
  };
}
