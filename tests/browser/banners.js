// A fake of the browser's notifications, which a browser without a screen does not show. An attribute of the page has
// the texts of the shown notifications; `press` clicks a notification. A request for permission succeeds.
// `tones`, and an attribute, count the tones of the sound. Another attribute has the chat on the screen of the tab that announced last.

const shown = new Map();
const tell = () => (document.documentElement.dataset.banners = [...shown.keys()].join("; "));
globalThis.press = (text) => shown.get(text).onclick();
globalThis.Notification = class {
  static get permission() {
    return localStorage.getItem("permission") ?? "default";
  }
  static async requestPermission() {
    localStorage.setItem("permission", "granted");
    return "granted";
  }
  constructor(title, { body }) {
    shown.set((this.text = `${title}: ${body}`), this);
    tell();
  }
  close() {
    shown.delete(this.text);
    tell();
  }
};

globalThis.tones = 0;
const { start } = OscillatorNode.prototype;
OscillatorNode.prototype.start = function (at) {
  document.documentElement.dataset.tones = ++tones;
  start.call(this, at);
};

new BroadcastChannel("rookery.tabs").onmessage = ({ data: { tab } }) => {
  if (tab) document.documentElement.dataset.screen = tab.screen;
};
