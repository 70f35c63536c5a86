/**
 * Chat with one user or group of a Rookery in the terminal, over gRPC with the stock library.
 *
 *     CHAT_PASSWORD=... node chat.js http://127.0.0.1:8080 ada grace
 *
 * signs in as ada, sends each line of the input to grace, and shows the messages of the chat. A line `/edit TEXT`
 * replaces the text of the message before. In place of grace, the id of a group may be given, such as g-12.
 */

import readline from "node:readline";

import { Api, ApiError } from "./api.js";
import { Session } from "./session.js";

/** Remove control characters, with which a message could control the terminal. */
function show(text) {
  console.log(text.replace(/\p{C}/gu, "\uFFFD"));
}

async function chat(url, name, other) {
  const api = new Api(url, name, process.env.CHAT_PASSWORD);
  const myId = await api.myId();
  const isGroup = other.startsWith("g-");
  const otherId = isGroup ? "" : await api.userId(other);
  const names = isGroup ? await api.members(other) : { [myId]: name, [otherId]: other };
  const chatId = isGroup ? other : directChatId(myId, otherId);
  const showMessage = (senderId, text) => show(`${names[senderId] ?? senderId}: ${text}`);
  const session = new Session(api, myId, chatId, showMessage, show);
  await Promise.race([session.stayConnected(), sendLines(session)]);
}

function directChatId(myId, otherId) {
  const [lower, higher] = BigInt(myId) < BigInt(otherId) ? [myId, otherId] : [otherId, myId];
  return `d-${lower}-${higher}`;
}

/** Read and send lines until the end of the input. */
async function sendLines(session) {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    if (!line.trim()) continue;
    const edit = line.startsWith("/edit ");
    show(`${await (edit ? session.edit(line.slice(6)) : session.send(line))}: ${line}`);
  }
}

if (process.argv.length !== 5 || !process.env.CHAT_PASSWORD) {
  console.error("usage: CHAT_PASSWORD=... node chat.js URL NAME OTHER");
  process.exit(2);
}
process.on("SIGINT", () => process.exit(0));
try {
  await chat(...process.argv.slice(2));
  process.exit(0); // without waiting for the session
} catch (error) {
  if (!(error instanceof ApiError)) throw error;
  console.error(error.message);
  process.exit(1);
}
