// Notifications of the browser outside the page: one for each chat. If the page has a service worker, it shows them,
// so that a click opens the chat also after the page was closed; browsers of phones allow no other notifications.

import { asset } from "./asset.js";

/** The permission is read again after this time: a read takes milliseconds, and each rendering needs it. */
const PERMISSION_MS = 1_000;
/** @type {NotificationPermission} */
let lastPermission = "denied";
let readAt_ms = -Infinity;
/** The notifications that the page itself shows, by chat_id. @type {Map<string, Notification>} */
const shown = new Map();
/** Resolves when all earlier work is done. */
let before = Promise.resolve();

/** Whether the browser supports notifications at this address: over https, or on localhost. */
export const isSupported = () => isSecureContext && "Notification" in globalThis;

/** The permission, which is at most `PERMISSION_MS` old. @returns {NotificationPermission} */
export function permission() {
  if (!isSupported()) return "denied";
  if (performance.now() - readAt_ms >= PERMISSION_MS) {
    lastPermission = Notification.permission;
    readAt_ms = performance.now();
  }
  return lastPermission;
}

/** Asks the person for the permission, in response to a click. @returns {Promise<NotificationPermission>} */
export async function askForPermission() {
  if (!isSupported()) return "denied";
  const answer = await Notification.requestPermission();
  readAt_ms = -Infinity;
  return answer;
}

/**
 * Shows a notification in place of an earlier one of the chat. It is silent, as the page has its own sound.
 * @param {string} chat_id
 * @param {{title: string, body: string}} texts
 * @param {() => void} open shows the chat
 */
export function show(chat_id, { title, body }, open) {
  const options = { body, icon: asset("icon.svg"), tag: chat_id, renotify: true, silent: true, data: { chat_id } };
  inOrder(async () => {
    const worker = await registration();
    if (worker) await worker.showNotification(title, options);
    else showHere(title, options, open);
  });
}

/** Closes the notification of a chat; without a chat all, also those of other tabs and former pages. @param {string} [chat_id] */
export function close(chat_id) {
  inOrder(async () => {
    const worker = await registration();
    for (const banner of (await worker?.getNotifications(chat_id ? { tag: chat_id } : {})) ?? []) banner.close();
    for (const id of chat_id ? [chat_id] : shown.keys()) {
      shown.get(id)?.close();
      shown.delete(id);
    }
  });
}

/**
 * @param {string} title
 * @param {NotificationOptions & {data: {chat_id: string}}} options
 * @param {() => void} open
 */
function showHere(title, options, open) {
  const { chat_id } = options.data;
  const banner = new Notification(title, options);
  shown.set(chat_id, banner);
  banner.onclick = () => {
    banner.close();
    focus();
    open();
  };
}

/** Runs work in order, so that no notification is closed before it is shown. @param {() => Promise<void>} work */
function inOrder(work) {
  before = before.then(work).catch(() => {}); // the person or the system has just denied the permission
}

/** The registration of the service worker that can show notifications. */
async function registration() {
  const found = await navigator.serviceWorker?.getRegistration();
  return found?.active ? found : undefined;
}
