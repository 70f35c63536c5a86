// The addresses of files of the page that are not modules. A bundle has this module in the page's folder too.

/** The address of a file of this page's version. @param {string} path below the page's folder */
export const asset = (path) => new URL(path, import.meta.url).href;
