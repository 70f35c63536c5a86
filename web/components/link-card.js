// The preview of a link below the text of a message: what the page says of itself, and the host to which the link leads.

import { withoutDirectionControls } from "../format.js";
import { previewOf } from "../kinds/previewed.js";
import { h } from "../view.js";

/** @import {Message} from "../types.js" */
/** @import {LinkPreview} from "../wire.js" */

/** @param {Message} message as shown @param {number} tabindex */
export function linkCard(message, tabindex) {
  const preview = previewOf(message);
  const { url = "", title = "", description = "", site_name = "", picture } = preview ?? {};
  if (!preview || !URL.canParse(url)) return null;
  const { host } = new URL(url);
  const props = { class: "link-card", key: `preview ${url}`, href: url, target: "_blank", rel: "noopener noreferrer", tabindex };
  const line = (/** @type {string} */ look, /** @type {string} */ text) =>
    text !== "" && h("span", { class: look, dir: "auto" }, withoutDirectionControls(text));
  return h(
    "a",
    props,
    h(
      "span",
      { class: "card-words" },
      h("small", {}, h("bdi", {}, host), site_name && site_name !== host && [" ", h("bdi", {}, withoutDirectionControls(site_name))]),
      line("card-title", title),
      line("card-description", description),
    ),
    picture && cardPicture(preview),
  );
}

/** @param {LinkPreview} preview */
const cardPicture = ({ picture = "", picture_width, picture_height }) =>
  h("img", { class: "card-picture", src: `data:image/webp;base64,${picture}`, width: picture_width, height: picture_height, alt: "" });
