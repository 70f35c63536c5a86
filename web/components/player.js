// Voice messages and other sounds in messages: a button, the loudness over time in which one moves, and the speed.

import { bytesOf, durationText } from "../files/kinds.js";
import { withoutDirectionControls } from "../format.js";
import { drawing } from "../icons.js";
import { fileTexts } from "../languages/files.js";
import { locale, texts } from "../languages/language.js";
import { Playback } from "../files/playback.js";
import { linksOf } from "../files/links.js";
import { isDeleted } from "../kinds/deleted.js";
import { isHidden } from "../kinds/hidden.js";
import { h } from "../view.js";
import { fileButton } from "./file-icons.js";
import { localUrl, wantedIn } from "./lazy-media.js";

/** @import {App} from "./app-shell.js" */
/** @import {Sound} from "../files/playback.js" */
/** @import {Message, MessageFile} from "../types.js" */

/** Bars of a waveform on the page. */
const BARS = 56;
/** The height of the drawing, and of its lowest bar; a bar and its gap are 3 wide. */
const HIGH = 24;
const LOW = 2;
/** An arrow key moves by this many seconds. */
const STEP = 5;

/** By the user's chats: the next user of the page has others. @type {WeakMap<object, Playback>} */
const all = new WeakMap();

/** The sounds of a user: they end with their message, when another chat is opened, and with the sign-in. @param {App} app */
function playbackOf(app) {
  const { chats, sync, sending } = app;
  const known = all.get(chats);
  if (known) return known;
  const made = new Playback(new Audio());
  all.set(chats, made);
  made.subscribe(app.root.invalidate);
  made.onFailed = () => app.notify(fileTexts.notLoaded);
  let { openChat } = chats;
  const follow = () => {
    const message = made.sound?.message;
    if (openChat !== chats.openChat || sync.hasEnded || (message && isGone(app, message))) made.stop();
    openChat = chats.openChat;
  };
  for (const store of [chats, sync, sending]) store.subscribe(follow);
  return made;
}

/** Whether a message was deleted, hidden or taken back. @param {App} app @param {Message} message as it was */
function isGone({ chats, sending }, message) {
  const { chat_id, key, message_id } = message;
  const known = [...chats.conversations.known(chat_id), ...sending.waiting(chat_id)].find((one) => one.key === key);
  if (!known && !message_id) return true;
  const shown = sending.shown(known ?? chats.conversations.current(message));
  return isDeleted(shown) || isHidden(shown);
}

/** @param {MessageFile} file */
const keyOf = ({ file_id, client_file_id }) => client_file_id ?? file_id;

/** What the view of a sound depends on. @param {App} app @param {MessageFile} file */
export function playerState({ chats }, file) {
  const playback = all.get(chats);
  const progress = playback?.of(keyOf(file));
  return progress ? JSON.stringify([progress, playback?.rate]) : `${playback?.rate ?? 1}`;
}

/**
 * @param {App} app
 * @param {Message} message
 * @param {MessageFile} file
 * @returns {Sound}
 */
function soundOf(app, message, file) {
  const wanted = wantedIn(message, file);
  return {
    key: keyOf(file),
    message,
    address: async () => localUrl(app, file) || linksOf(app).get(wanted),
    forget: () => linksOf(app).forget(wanted),
    duration: (file.duration_ms ?? 0) / 1_000,
  };
}

/** @param {App} app @param {Message} message @param {MessageFile} file @param {number} tabindex */
export function player(app, message, file, tabindex) {
  const { duration_ms = 0 } = file;
  const playback = all.get(app.chats);
  const progress = playback?.of(keyOf(file)) ?? { isPlaying: false, at: 0, duration: duration_ms / 1_000 };
  const { isPlaying, at, duration } = progress;
  const { play, pause, speed } = fileTexts.player;
  const sound = soundOf(app, message, file);
  const rate = playback?.rate ?? 1;
  const factor = `${new Intl.NumberFormat(locale).format(rate)}×`;
  const name = duration_ms ? texts.files.voice : withoutDirectionControls(file.name);
  const toggle = () => void playbackOf(app).toggle(sound);
  return [
    fileButton(`${isPlaying ? pause : play}`, isPlaying ? "pause" : "play", toggle, { class: "icon-button round", tabindex }),
    h(
      "span",
      { class: "sound" },
      h("span", { class: duration_ms ? "unseen" : "file-name", dir: "auto" }, name),
      track(app, sound, file, { at, duration, tabindex }),
      h("small", { class: "time", dir: "ltr" }, durationText(at || duration)),
    ),
    h(
      "button",
      { class: "rate", type: "button", "aria-label": speed(factor), title: speed(factor), tabindex, onclick: () => playbackOf(app).faster() },
      factor,
    ),
  ];
}

/**
 * The loudness over time, in which one moves. Time runs from left to right in every language, as on other players.
 * @param {App} app
 * @param {Sound} sound
 * @param {MessageFile} file
 * @param {{at: number, duration: number, tabindex: number}} progress
 */
function track(app, sound, { waveform = "" }, { at, duration, tabindex }) {
  const seek = (/** @type {number} */ to) => void playbackOf(app).seek(sound, Math.min(to, Math.max(duration - 0.1, 0)));
  const steps = /** @type {Record<string, number>} */ ({ ArrowRight: at + STEP, ArrowUp: at + STEP, ArrowLeft: at - STEP, ArrowDown: at - STEP, Home: 0, End: duration });
  const bars = barsOf(waveform ? [...bytesOf(waveform)] : []);
  const played = duration ? Math.round((at / duration) * bars.length) : 0;
  const { position, at: of } = fileTexts.player;
  return h(
    "span",
    {
      ...{ class: "track", dir: "ltr", role: "slider", tabindex, "aria-label": position },
      ...{ "aria-valuemin": 0, "aria-valuemax": Math.round(duration), "aria-valuenow": Math.round(at) },
      "aria-valuetext": of(durationText(at), durationText(duration)),
      onclick: (/** @type {PointerEvent} */ event) => {
        const { left, width } = /** @type {HTMLElement} */ (event.currentTarget).getBoundingClientRect();
        if (duration) seek(((event.clientX - left) / width) * duration);
      },
      onkeydown: (/** @type {KeyboardEvent} */ event) => {
        const to = steps[event.key];
        if (to === undefined) return;
        event.preventDefault();
        event.stopPropagation(); // the arrows move among the messages otherwise
        seek(to);
      },
    },
    drawing("waveform", `0 0 ${3 * BARS} ${HIGH}`, [
      h("path", { key: "played", class: "played", d: linesOf(bars.slice(0, played), 0) }),
      h("path", { key: "left", d: linesOf(bars.slice(played), played) }),
    ]),
  );
}

/**
 * As many bars as are drawn, from 0 to 1: the loudest value of each piece; flat without values.
 * @param {readonly number[]} values from 0 to 255
 */
export function barsOf(values) {
  const loudest = Math.max(...values, 1);
  return Array.from({ length: BARS }, (_, at) => {
    const first = Math.floor((at * values.length) / BARS);
    const piece = values.slice(first, Math.max(Math.ceil(((at + 1) * values.length) / BARS), first + 1));
    return Math.max(...piece, 0) / loudest;
  });
}

/** @param {readonly number[]} bars @param {number} first */
const linesOf = (bars, first) =>
  bars
    .map((part, at) => {
      const high = Math.max(part * (HIGH - LOW), LOW);
      return `M${3 * (first + at) + 1.5} ${((HIGH - high) / 2).toFixed(1)}v${high.toFixed(1)}`;
    })
    .join("");
