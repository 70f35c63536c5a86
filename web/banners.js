// Notifications of the browser outside the page: one for each chat.

/** The shown ones, by chat_id. @type {Map<string, Notification>} */
const shown = new Map();

/** Whether the browser has notifications on this address: on https and localhost alone. */
export const isSupported = () => isSecureContext && "Notification" in globalThis;

/** @returns {NotificationPermission} */
export const permission = () => (isSupported() ? Notification.permission : "denied");

/** Asks the person, in response to a click. @returns {Promise<NotificationPermission>} */
export const askForPermission = async () => (isSupported() ? Notification.requestPermission() : "denied");

/**
 * Shows a notification in place of an earlier one of the chat. It is silent, as the page has its own sound.
 * @param {string} chat_id
 * @param {{title: string, body: string}} texts
 * @param {() => void} open shows the chat
 */
export function show(chat_id, { title, body }, open) {
  const options = { body, tag: chat_id, renotify: true, silent: true, icon: new URL("icon.svg", import.meta.url).href };
  try {
    const banner = new Notification(title, options);
    shown.set(chat_id, banner);
    banner.onclose = () => shown.get(chat_id) === banner && shown.delete(chat_id);
    banner.onclick = () => {
      banner.close();
      focus();
      open();
    };
  } catch {
    // Chrome on Android has only notifications of a service worker.
  }
}

/** @param {string} chat_id */
export function close(chat_id) {
  shown.get(chat_id)?.close();
  shown.delete(chat_id);
}
