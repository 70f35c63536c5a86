// The server's refusals in the person's language, by the stable codes in docs/client-guide.md.

import { texts } from "./languages/language.js";

/** The texts for one field, by code and field. @returns {Record<string, string>} */
const byField = () => ({
  "invalid name": texts.refusedField.name,
  "invalid display_name": texts.refusedField.displayName,
  "invalid about": texts.refusedField.about,
  "invalid password": texts.refusedField.password,
  "invalid new_password": texts.refusedField.password,
  "invalid current_password": texts.refusedField.wrongPassword,
  "forbidden current_password": texts.refusedField.wrongPassword,
  "forbidden send.recipient_id": texts.refusedField.notAccepted,
  "not_found token": texts.refusedField.usedLink,
});

/**
 * The text to show for a refusal: the server's message for codes that need it, such as `internal`, whose message
 * contains the id of the fault in the server's log. A pause of more than a minute is stated.
 * @param {{code?: string | undefined, field?: string | undefined, message?: string | undefined, retry_after_ms?: number | undefined}} refusal
 */
export function refusalText({ code = "", field = "", message = "", retry_after_ms = 0 }) {
  if (code === "rate_limited" && retry_after_ms > 60_000) return texts.failed.tooManyAttempts(Math.ceil(retry_after_ms / 60_000));
  const byCode = new Map(Object.entries(texts.refused));
  return byField()[`${code} ${field}`] ?? byCode.get(code) ?? (message || texts.failed.unknown);
}
