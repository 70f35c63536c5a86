// The recording of a voice message, in place of the text field.

import { durationText } from "../files/kinds.js";
import { MAX_VOICE_MS, MIN_VOICE_MS, Recorder } from "../files/recorder.js";
import { drawing } from "../icons.js";
import { fileTexts } from "../languages/files.js";
import { h } from "../view.js";
import { openAttachments } from "./attachments.js";
import { iconButton } from "./buttons.js";

/** @import {App} from "./app-shell.js" */

/** The newest measurements that are drawn, and the height of the drawing. */
const BARS = 40;
const HIGH = 24;

export class VoiceMessage {
  #app;
  #chat_id;
  #recorder;
  #ended;

  /**
   * Begins to record; shows why not if the microphone can't be used. Returns null then.
   * @param {App} app
   * @param {string} chat_id
   * @param {() => void} ended called when it is cancelled
   * @throws {Error} if the server is away
   */
  static async begin(app, chat_id, ended) {
    await openAttachments(app);
    try {
      return new VoiceMessage(app, chat_id, await Recorder.begin(), ended);
    } catch (fault) {
      const { noMicrophone, notAllowed } = fileTexts.voice;
      const isRejected = fault instanceof DOMException && fault.name === "NotAllowedError";
      app.notify(isRejected ? notAllowed : noMicrophone);
      return null;
    }
  }

  /** @param {App} app @param {string} chat_id @param {Recorder} recorder @param {() => void} ended */
  constructor(app, chat_id, recorder, ended) {
    this.#app = app;
    this.#chat_id = chat_id;
    this.#recorder = recorder;
    this.#ended = ended;
    app.sending.uploads?.attached.voices.add(this);
    recorder.onChange = app.root.invalidate;
  }

  cancel() {
    this.#recorder.cancel();
    this.#ended();
    this.#release();
  }

  /** A reload loses nothing of it any more. */
  #release() {
    this.#app.sending.uploads?.attached.voices.delete(this);
    this.#app.sending.changed();
  }

  /**
   * Ends the recording now, and sends it after the messages of the chat that are being kept; drops one that is empty or
   * too short, with a notice.
   * @param {string} reply_to
   * @returns {Promise<boolean>} when it is kept; whether it is sent
   */
  send(reply_to) {
    const { drafts, uploads } = this.#app.sending;
    const finished = this.#recorder.finish();
    const keep = async () => {
      const voice = await finished;
      const isSent = voice.bytes.size > 0 && voice.duration_ms >= MIN_VOICE_MS;
      if (isSent) await uploads?.attached.sendVoice(this.#chat_id, voice, reply_to);
      else this.#app.notify(fileTexts.voice.tooShort);
      return isSent;
    };
    return drafts.keepNext(this.#chat_id, keep).finally(() => this.#release());
  }

  view() {
    const { label, cancel, recording, isFull, hasEnded } = fileTexts.voice;
    const { levels, duration_ms, isRecording } = this.#recorder;
    const newest = [...Array(BARS).fill(0), ...levels].slice(-BARS);
    const bars = newest.map((level, at) => `M${3 * at + 1.5} ${HIGH / 2 - (level * HIGH) / 2}v${Math.max(level * HIGH, 1)}`);
    return h(
      "div",
      { class: "recording", key: "recording", role: "group", "aria-label": label },
      iconButton(cancel, "close", () => this.cancel()),
      h("span", { class: isRecording ? "recording-sign" : "recording-sign ended" }),
      h("span", { role: "timer", dir: "ltr" }, durationText(duration_ms / 1_000)),
      drawing("levels", `0 0 ${3 * BARS} ${HIGH}`, [h("path", { d: bars.join("") })]),
      h("span", { class: "unseen", role: "status" }, isRecording ? recording : duration_ms < MAX_VOICE_MS ? hasEnded : isFull),
    );
  }
}
