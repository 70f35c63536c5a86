// The part of the page's address that browsers do not send to the server: an open chat or a message in it, `#chat` or
// `#chat/message`, the links of admins, `#invite=…` to create an account and `#reset=…` to set a new password, and the
// invite links of groups, `#join/…`.

/** @typedef {{kind: "" | "invite" | "reset" | "join", token: string}} Link */

/** The link in the page's address; its kind is empty if there is none. @param {string} hash @returns {Link} */
export function linkIn(hash) {
  const [, kind = "", token = ""] = hash.match(/^#(invite|reset)=([^&]+)$/) ?? hash.match(/^#(join)\/([\w.-]+)$/) ?? [];
  return { kind: /** @type {Link["kind"]} */ (kind), token };
}

/**
 * The open chat in the page's address, and the linked message in it; each is empty if there is none.
 * @param {string} hash
 */
export function placeIn(hash) {
  const [, chat = "", message_id = ""] = hash.match(/^#([^/]+)(?:\/([1-9]\d{0,18}))?$/) ?? [];
  return { chat_id: decoded(chat), message_id };
}

/** Decodes a part of an address; empty if it is invalid. @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return "";
  }
}

/** The address of a message, to hand to a member of its chat. @param {string} chat_id @param {string} message_id */
export const messageAddress = (chat_id, message_id) =>
  `${location.origin}/#${encodeURIComponent(chat_id)}/${message_id}`;

/** The address of a group's invite link. @param {string} token */
export const joinAddress = (token) => `${location.origin}/#join/${token}`;

/** The address of a link, to hand to its user. @param {"invite" | "reset"} kind @param {string} token */
export const linkAddress = (kind, token) => `${location.origin}/#${kind}=${token}`;
