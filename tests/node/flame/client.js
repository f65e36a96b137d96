// The way in: enrol with an invite, then connect with the key that is admitted from then on.

import { Calls } from "./calls.js";
import { keyPair, parseInvite } from "./keys.js";
import { Lane } from "./lane.js";
import { Session } from "./session.js";

/** Use an invite: the server admits these keys from now on. Gives all that `connect` needs. */
export async function enrol(text, keys = keyPair(), client = "node") {
  const invite = parseInvite(text);
  const where = invite.address;
  const greeting = () => [
    JSON.stringify({ versions: [1], lane: "enrol", key: keys.public.toString("base64url"), client }),
  ];
  const lane = new Lane(where, invite.serverKey, invite.once, [greeting]);
  await lane.open();
  lane.cut(); // the server has let go of it
  return { where, serverKey: invite.serverKey, keys };
}

/** Attach to a session, a private one unless `options.session` names one, and open a lane for its calls. */
export async function connect({ where, serverKey, keys }, options = {}) {
  const session = new Session(where, serverKey, keys, options);
  await session.open();
  const calls = new Calls(where, serverKey, keys, session, options.printed);
  await calls.open();
  const close = async () => {
    await calls.close();
    await session.close();
  };
  return { session, calls, close };
}
