// The viewer of pictures: the link of the shown one.

import assert from "node:assert/strict";
import test from "node:test";
import { fromWire } from "../../../web/messages.js";
import { Chats } from "../../../web/stores/chats.js";
import { Store } from "../../../web/stores/store.js";
import { ADA, settle, useLines, wireMessage } from "./fakes.js";

const PICTURE = { file_id: "1", name: "lake.jpg", media_type: "image/jpeg", size: "9", width: 1200, height: 800 };

/** Shows the viewer; records the addresses of the pictures that it loads. */
async function useViewer(context) {
  const { document } = useLines(context, 3);
  const page = { loaded: [], works: (_url) => false, uploads: null };
  class FakeImage {
    async decode() {
      page.loaded.push(this.src);
      if (!page.works(this.src)) throw new Error("expired");
    }
  }
  Object.assign(globalThis, { Image: FakeImage, devicePixelRatio: 1, IntersectionObserver: class { observe() {} } });
  context.after(() => ["Image", "devicePixelRatio", "IntersectionObserver"].forEach((name) => delete globalThis[name]));
  const { Viewer } = await import("../../../web/components/viewer.js");
  const chats = new Chats({}, { user_id: ADA, name: "ada", display_name: "Ada" });
  const sending = Object.assign(new Store(), { shown: (message) => message, waiting: () => [] });
  let count = 0;
  const signedIn = async (_method, _path, { files = [] }) => ({ links: files.map(() => ({ url: `/${++count}`, expires_at_ms: "9e15" })) });
  const message = fromWire({ ...wireMessage(1), sender_id: ADA, files: [PICTURE] });
  page.view = async () => {
    sending.uploads = page.uploads;
    const viewer = new Viewer({ api: { signedIn }, chats, sending }, message, message.files[0], () => {});
    viewer.open();
    for (let turn = 0; turn < 9; turn++) {
      await new Promise((resolve) => setTimeout(resolve)); // a link is requested after the present task
      await settle();
    }
    return document.body.markup.includes('class="sharp"');
  };
  return page;
}

test("the viewer loads a picture by another link if the first one does not work, once", async (context) => {
  const page = await useViewer(context);
  assert.deepEqual([await page.view(), page.loaded], [false, ["/1", "/2"]]);
  page.works = (url) => url === "/3";
  assert.deepEqual([await page.view(), page.loaded.slice(2)], [true, ["/2", "/3"]]);
});

test("the viewer loads from the server a picture of which this browser can't decode its own bytes", async (context) => {
  const page = await useViewer(context);
  page.uploads = { urlOf: () => "blob:1" };
  page.works = (url) => url === "/1";
  assert.deepEqual([await page.view(), page.loaded], [true, ["blob:1", "/1"]]);
});
