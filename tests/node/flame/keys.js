// CURVE keys and invites (docs/protocol.md, "Connections" and "Enrolling").

import { createPrivateKey, createPublicKey, randomBytes } from "node:crypto";
import { blake2b } from "@noble/hashes/blake2.js";

// What PKCS #8 puts before the 32 bytes of an X25519 key.
const PKCS8 = Buffer.from("302e020100300506032b656e04220420", "hex");

const Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

/** Write 32 bytes as ZeroMQ's options take keys. */
export function z85(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 4) {
    let value = bytes.readUInt32BE(at);
    let digits = "";
    for (let digit = 0; digit < 5; digit += 1) {
      digits = Z85[value % 85] + digits;
      value = Math.floor(value / 85);
    }
    text += digits;
  }
  return text;
}

/** Give the key pair of a secret key. */
export function keyPair(secret = randomBytes(32)) {
  const own = createPrivateKey({ key: Buffer.concat([PKCS8, secret]), format: "der", type: "pkcs8" });
  return { secret, public: createPublicKey(own).export({ format: "der", type: "spki" }).subarray(-32) };
}

/** Read an invite, `flame://host:port/#TOKEN`. */
export function parseInvite(text) {
  const found = /^flame:\/\/(.+):(\d+)\/#([\w-]+)$/.exec(text);
  const token = found === null ? Buffer.alloc(0) : Buffer.from(found[3], "base64url");
  if (token.length !== 52) throw new Error("that is no invite");
  const body = token.subarray(0, 48);
  if (!token.subarray(48).equals(Buffer.from(blake2b(body, { dkLen: 4 })))) {
    throw new Error("the invite was damaged as it was copied");
  }
  const personal = Buffer.alloc(16);
  personal.write("flame-invite");
  const once = blake2b(body.subarray(32), { dkLen: 32, personalization: personal });
  return {
    host: found[1].replace(/^\[(.*)\]$/, "$1"), // brackets of an IPv6 address
    address: `${found[1]}:${found[2]}`,
    port: Number(found[2]),
    serverKey: body.subarray(0, 32),
    once: keyPair(Buffer.from(once)),
  };
}
