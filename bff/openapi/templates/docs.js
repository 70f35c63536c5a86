// The page /docs: the address of this server in the examples, buttons that copy them, and a table of contents that
// closes when a link in it is followed. Without this script the page has everything but the buttons.

const LOCAL = "http://127.0.0.1:8080";
const COPIED_MS = 2_000;

const announcements = document.querySelector("[role=status]");

for (const example of document.querySelectorAll(".example")) {
  const code = example.querySelector("code");
  const caption = example.querySelector("figcaption");
  if (!code || !caption) continue;
  code.textContent = (code.textContent ?? "").replace(LOCAL, location.origin);
  caption.append(copyButton(code, caption.textContent ?? ""));
}

document.querySelector(".contents")?.addEventListener("click", (event) => {
  if (event.target instanceof Element && event.target.closest("a")) {
    document.querySelector(".contents")?.removeAttribute("open");
  }
});

/** @param {HTMLElement} code @param {string} language */
function copyButton(code, language) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.setAttribute("aria-label", `Copy the example for ${language}`);
  button.addEventListener("click", async () => {
    button.textContent = (await copy(code)) ? "Copied" : "Selected";
    if (announcements) announcements.textContent = button.textContent;
    setTimeout(() => {
      button.textContent = "Copy";
      if (announcements) announcements.textContent = "";
    }, COPIED_MS);
  });
  return button;
}

/** Copy the text; where the browser does not let pages copy, select it, and return false. @param {HTMLElement} code */
async function copy(code) {
  try {
    await navigator.clipboard.writeText(code.textContent ?? "");
    return true;
  } catch {
    getSelection()?.selectAllChildren(code);
    return false;
  }
}
