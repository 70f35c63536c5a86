// Files that are dropped on the page: a browser would leave the page to show them.

/** Rejects dropped files, except where a listener has accepted them by `preventDefault`. */
export function rejectDroppedFiles() {
  for (const type of ["dragover", "drop"])
    addEventListener(type, (event) => {
      const { dataTransfer, defaultPrevented } = /** @type {DragEvent} */ (event);
      if (defaultPrevented || !dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      dataTransfer.dropEffect = "none";
    });
}
