// German: the texts of files.

import { intl } from "../intl.js";

/** @import {FileTexts} from "../files.js" */

const { plural, number } = intl("de");

/** @type {FileTexts} */
export const de = {
  kindAndSize: (kind, size) => `${kind} · ${size}`,
  unknownKind: "Datei",
  openPicture: (name) => `Foto ${name} öffnen`,
  download: "Herunterladen",
  downloadNamed: (name) => `${name} herunterladen`,
  gone: "Nicht mehr verfügbar",
  notLoaded: "Das konnte nicht geladen werden.",
  copyPicture: "Foto kopieren",
  pictureCopied: "Das Foto ist kopiert.",
  text: {
    showMoreOf: (name) => `Mehr anzeigen von ${name}`,
    cut: (size) => `Das ist der Anfang der Datei, ${size}. Lade sie herunter, um den Rest zu lesen.`,
  },
  upload: {
    waiting: "Wartet auf die Verbindung",
    progress: (sent, size) => `${sent} von ${size}`,
    checking: "Wird geprüft",
    cancel: "Abbrechen",
    label: "Übertragung",
  },
  player: {
    play: "Abspielen",
    pause: "Anhalten",
    position: "Stelle",
    at: (at, duration) => `${at} von ${duration}`,
    speed: (factor) => `Geschwindigkeit: ${factor}`,
    video: (name) => `Das Video ${name}`,
    unplayable: "Dieser Browser kann das Video nicht abspielen. Lade es herunter.",
  },
  viewer: {
    label: "Fotos dieses Chats",
    previous: "Zurück",
    next: "Weiter",
    zoomIn: "Vergrößern",
    zoomOut: "Verkleinern",
    showInChat: "Im Chat zeigen",
    sentBy: (name, time) => `${name}, ${time}`,
  },
  list: {
    title: "Fotos, Dateien und Links",
    media: "Fotos und Videos",
    other: "Dateien",
    links: "Links",
    notLoaded: "Die Liste konnte nicht geladen werden.",
    none: "Noch nichts da",
    noneHint: "Was in diesem Chat gesendet wird, steht hier.",
  },
  sending: {
    attach: "Dateien anhängen",
    attached: "Angehängte Dateien",
    count: (count) =>
      plural(count, { one: "1 Datei ist angehängt.", other: `${number(count)} Dateien sind angehängt.` }),
    remove: (name) => `${name} entfernen`,
    drop: "Dateien hier ablegen, um sie anzuhängen",
    library: "Fotos und Videos",
    camera: "Kamera",
    files: "Dateien",
    tooLarge: (name, size) => `${name} ist zu groß: Eine Datei darf höchstens ${size} haben.`,
    tooMany: (count) => `Du kannst höchstens ${number(count)} Dateien anhängen.`,
    original: "In Originalqualität senden",
    originalNote: "Ort und Kameradaten bleiben dann in den Bildern, für alle, die sie bekommen.",
    notKept: (names, size) =>
      `Entwürfe behalten in diesem Browser höchstens ${size} an Dateien. Wenn du die Seite vor dem Senden schließt, geht verloren: ${names}.`,
    noRoomFor: (names) =>
      `Der Speicher dieses Browsers ist voll oder blockiert. Wenn du die Seite vor dem Senden schließt, geht verloren: ${names}.`,
    lostFromDraft: (names, count) =>
      plural(count, {
        one: `Dieser Browser hat die Datei ${names} nicht aufbewahrt. Hänge sie noch einmal an.`,
        other: `Dieser Browser hat die Dateien ${names} nicht aufbewahrt. Hänge sie noch einmal an.`,
      }),
    ofFile: (name, reason) => `Datei ${name}: ${reason}`,
    lost: "Dieser Browser hat die Datei nicht aufbewahrt. Hänge sie noch einmal an.",
    unreadable: "Die Datei wurde auf diesem Gerät geändert oder gelöscht. Hänge sie noch einmal an.",
    blocked: "Der Server hat Schadsoftware in der Datei gefunden.",
    quota: "Deine Dateien haben die Grenze dieses Servers erreicht.",
    notAllowed: "Der Server nimmt keine Dateien dieses Typs an.",
  },
  voice: {
    label: "Aufnahme einer Sprachnachricht",
    recording: "Deine Stimme wird aufgenommen. Sende die Aufnahme, oder brich sie mit Escape ab.",
    isFull: "Die Aufnahme hat ihre längste Dauer erreicht. Du kannst sie senden.",
    hasEnded: "Das Mikrofon kann nicht mehr benutzt werden. Du kannst die Aufnahme senden.",
    tooShort: "Die Aufnahme war zu kurz und wurde nicht gesendet.",
    cancel: "Aufnahme abbrechen",
    notAllowed: "Diese Seite darf das Mikrofon nicht benutzen. Du kannst es in den Einstellungen des Browsers erlauben.",
    noMicrophone: "Das Mikrofon kann nicht benutzt werden.",
  },
};
