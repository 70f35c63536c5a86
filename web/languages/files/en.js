// English: the texts of files, and the list of all of them.

import { intl } from "../intl.js";

const { plural, number } = intl("en");

/** @typedef {string} Name of a file, or of a person */

export const en = {
  /** Below the name of a file: its kind, such as PDF, and its size. */
  kindAndSize: (/** @type {string} */ kind, /** @type {string} */ size) => `${kind} · ${size}`,
  unknownKind: "File",
  openPicture: (/** @type {Name} */ name) => `Open the photo ${name}`,
  download: "Download",
  downloadNamed: (/** @type {Name} */ name) => `Download ${name}`,
  gone: "Not available any more",
  notLoaded: "This could not be loaded.",
  copyPicture: "Copy photo",
  pictureCopied: "The photo is copied.",
  /** Of a file that is a text, whose first lines a message shows. */
  text: {
    showMoreOf: (/** @type {Name} */ name) => `Show more of ${name}`,
    cut: (/** @type {string} */ size) => `This is the beginning of the file, ${size}. Download it to read the rest.`,
  },
  /** Of an own message whose files are not all sent. */
  upload: {
    waiting: "Waiting for the connection",
    progress: (/** @type {string} */ sent, /** @type {string} */ size) => `${sent} of ${size}`,
    checking: "Being checked",
    cancel: "Cancel",
    label: "Upload",
  },
  player: {
    play: "Play",
    pause: "Pause",
    position: "Position",
    at: (/** @type {string} */ at, /** @type {string} */ duration) => `${at} of ${duration}`,
    speed: (/** @type {string} */ factor) => `Speed: ${factor}`,
    video: (/** @type {Name} */ name) => `Video ${name}`,
    unplayable: "This browser can’t play the video. Download it.",
  },
  viewer: {
    label: "Photos of this chat",
    previous: "Previous",
    next: "Next",
    zoomIn: "Zoom in",
    zoomOut: "Zoom out",
    showInChat: "Show in chat",
    sentBy: (/** @type {Name} */ name, /** @type {string} */ time) => `${name}, ${time}`,
  },
  list: {
    title: "Photos, files and links",
    media: "Photos and videos",
    other: "Files",
    links: "Links",
    notLoaded: "This list could not be loaded.",
    none: "Nothing here yet",
    noneHint: "What is sent in this chat is listed here.",
  },
  /** Of files that are attached to a draft, or wait for their upload. */
  sending: {
    attach: "Attach files",
    attached: "Attached files",
    count: (/** @type {number} */ count) =>
      plural(count, { one: "1 file is attached.", other: `${number(count)} files are attached.` }),
    remove: (/** @type {Name} */ name) => `Remove ${name}`,
    drop: "Drop files here to attach them",
    library: "Photos and videos",
    camera: "Camera",
    files: "Files",
    tooLarge: (/** @type {Name} */ name, /** @type {string} */ size) =>
      `${name} is too large: a file may have ${size} at most.`,
    tooMany: (/** @type {number} */ count) => `You can attach ${number(count)} files at most.`,
    /** The switch at attached pictures. */
    original: "Send in original quality",
    originalNote: "Location and camera data then stay in the pictures, for everyone who gets them.",
    /** Of attached files that the draft does not keep; `names` are one or several. */
    notKept: (/** @type {string} */ names, /** @type {string} */ size) =>
      `Drafts keep ${size} of files in this browser at most. If you close the page before sending, this is lost: ${names}.`,
    noRoomFor: (/** @type {string} */ names) =>
      `This browser’s storage is full or blocked. If you close the page before sending, this is lost: ${names}.`,
    lostFromDraft: (/** @type {string} */ names, /** @type {number} */ count) =>
      plural(count, {
        one: `This browser has not kept the file ${names}. Attach it again.`,
        other: `This browser has not kept the files ${names}. Attach them again.`,
      }),
    /** Of a message that could not be sent. */
    ofFile: (/** @type {Name} */ name, /** @type {string} */ reason) => `File ${name}: ${reason}`,
    lost: "This browser has not kept the file. Attach it again.",
    unreadable: "The file was changed or deleted on this device. Attach it again.",
    blocked: "The server has found malware in the file.",
    quota: "Your files have reached the limit of this server.",
    notAllowed: "The server does not take files of this type.",
  },
  /** The recording of a voice message. */
  voice: {
    label: "Recording of a voice message",
    recording: "Your voice is being recorded. Send it, or press Escape to cancel.",
    isFull: "The recording has reached its longest time. You can send it.",
    hasEnded: "The microphone can’t be used any more. You can send the recording.",
    tooShort: "The recording was too short, and was not sent.",
    cancel: "Cancel the recording",
    notAllowed: "This page is not allowed to use the microphone. You can allow it in the settings of the browser.",
    noMicrophone: "The microphone can’t be used.",
  },
};
