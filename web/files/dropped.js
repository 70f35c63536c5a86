// What was pasted into a text field, or dropped on a chat.

/**
 * The files in what was pasted or dropped. A copied table or paragraph has a picture of itself beside its text: that is
 * no file. Folders are left out.
 * @param {Pick<DataTransfer, "files" | "items" | "types">} transfer
 * @returns {File[]}
 */
export function filesIn({ files, items, types }) {
  if (types.includes("text/plain") && (types.includes("text/html") || types.includes("text/rtf"))) return [];
  const isFolder = (/** @type {DataTransferItem} */ item) => item.webkitGetAsEntry?.()?.isDirectory === true;
  const hasFolders = [...(items ?? [])].some(isFolder);
  if (!hasFolders) return [...files];
  return [...items].filter((item) => item.kind === "file" && !isFolder(item)).flatMap((item) => item.getAsFile() ?? []);
}
