// Saves files, by the browser.

/** @param {string} url of this server, which sends the file as a download @param {string} name */
export function saveAs(url, name) {
  const link = document.createElement("a");
  [link.href, link.download] = [url, name];
  link.click();
}
