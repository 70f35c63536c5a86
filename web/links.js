// The links of admins that open the page: `#invite=…` to create an account, `#reset=…` to set a new password. Browsers
// do not send this part of an address to the server.

/** @typedef {{kind: "" | "invite" | "reset", token: string}} Link */

/** The link in the page's address; its kind is empty if there is none. @param {string} hash @returns {Link} */
export function linkIn(hash) {
  const [, kind, token = ""] = hash.match(/^#(invite|reset)=([^&]+)$/) ?? [];
  return { kind: kind === "invite" || kind === "reset" ? kind : "", token };
}

/** The address of a link, to hand to its user. @param {"invite" | "reset"} kind @param {string} token */
export const linkAddress = (kind, token) => `${location.origin}/#${kind}=${token}`;
