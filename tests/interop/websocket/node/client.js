// A browser's session as a Node.js program would hold it, with ws: runs each case, and prints its result.
//
//   node client.js URL TOKEN RECIPIENT       every case
"use strict";

const WebSocket = require("ws");

const SUBPROTOCOL = "rookery.v1.json";
const PATIENCE_MS = 30_000;

const [url, token, recipient] = process.argv.slice(2);

/** A connection, and its frames in the order in which they came. */
class Session {
  constructor() {
    this.socket = new WebSocket(url, SUBPROTOCOL, { perMessageDeflate: true, handshakeTimeout: PATIENCE_MS });
    this.opened = new Promise((resolve, reject) => {
      this.socket.once("open", resolve);
      this.socket.once("error", reject);
    });
    this.closed = new Promise((resolve) => this.socket.once("close", (code) => resolve(code)));
    this.frames = [];
    this.wake = () => {};
    this.socket.on("message", (data) => {
      this.frames.push(JSON.parse(data.toString()));
      this.wake();
    });
  }

  say(frame) {
    this.socket.send(JSON.stringify(frame));
  }

  /** The next frame of a kind; others are passed over. */
  async next(kind) {
    for (;;) {
      while (this.frames.length > 0) {
        const frame = this.frames.shift();
        if (kind in frame) return frame[kind];
      }
      await new Promise((resolve) => (this.wake = resolve));
    }
  }
}

async function signIn() {
  const session = new Session();
  await session.opened;
  session.say({ authenticate: { access_token: token } });
  await session.next("welcome");
  return session;
}

/** Sends a text, and returns the message that another session of the same user receives. */
async function chat(write) {
  const session = await signIn();
  const other = await signIn();
  const id = `${Date.now()}-${Math.random()}`;
  const body = "grüße 👍";
  write(session.socket, Buffer.from(JSON.stringify({ send: { client_message_id: id, recipient_id: recipient, text: { body } } })));
  await session.next("accepted");
  for (;;) {
    const { message } = await other.next("event");
    if (message && message.client_message_id === id) {
      session.socket.close();
      other.socket.close();
      return message.text.body;
    }
  }
}

/** One fragment for each byte, and an empty one behind it. */
function writeFragments(socket, data) {
  for (const byte of data) {
    socket.send(Buffer.from([byte]), { binary: false, fin: false });
    socket.send(Buffer.alloc(0), { binary: false, fin: false });
  }
  socket.send(Buffer.alloc(0), { binary: false, fin: true });
}

async function closedAfter(data, binary) {
  const session = await signIn();
  session.socket.on("error", () => {}); // the server may close before it has all
  session.socket.send(data, { binary });
  return session.closed;
}

function status(address, subprotocol, origin) {
  return new Promise((resolve) => {
    const socket = new WebSocket(address, subprotocol, { origin });
    socket.once("open", () => resolve("let in"));
    socket.once("error", (error) => resolve(error.message));
    socket.once("unexpected-response", (request, response) => {
      resolve(response.statusCode);
      request.destroy();
    });
  });
}

const CASES = {
  async negotiated() {
    const session = new Session();
    await session.opened;
    session.socket.close();
    return [session.socket.protocol, session.socket.extensions];
  },
  chat: () => chat((socket, data) => socket.send(data, { binary: false })),
  fragments: () => chat(writeFragments),
  async ping() {
    const session = await signIn();
    session.socket.ping("there?");
    const payload = await new Promise((resolve) => session.socket.once("pong", resolve));
    session.socket.close();
    return payload.toString();
  },
  async "own close"() {
    const session = await signIn();
    session.socket.close(4000, "enough");
    return session.closed;
  },
  async goodbye() {
    const session = new Session();
    await session.opened;
    session.say({ ping: {} });
    const { code } = await session.next("goodbye");
    return [code, await session.closed];
  },
  binary: () => closedAfter(Buffer.from("{}"), true),
  "not UTF-8": () => closedAfter(Buffer.from([0xff, 0xfe]), false),
  "too big": () => closedAfter(Buffer.alloc(1_000_000, "x"), false),
  path: () => status(url.replace("/session", "/elsewhere"), SUBPROTOCOL),
  protocol: () => status(url, "chat"),
  origin: () => status(url, SUBPROTOCOL, "http://evil.example"),
};

async function main() {
  for (const [name, run] of Object.entries(CASES)) {
    console.log(JSON.stringify({ case: name, result: await run() }));
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
