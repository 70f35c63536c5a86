// German: the texts of dialogs.

import { intl } from "../intl.js";

/** @import {DialogTexts} from "../dialogs.js" */

const { plural, number } = intl("de");

/** @type {DialogTexts} */
export const de = {
  edits: {
    title: "Bearbeitungsverlauf",
    original: "Ursprüngliche Fassung",
    notLoaded: "Der Bearbeitungsverlauf konnte nicht geladen werden.",
    newest: (count) => `Nur die ${number(count)} neuesten Bearbeitungen werden gezeigt.`,
  },
  deletion: {
    title: "Diese Nachricht löschen?",
    forMe: "Für mich löschen",
    forMeHint: "Für dich verschwindet sie von allen deinen Geräten. Andere sehen sie weiterhin.",
    forEveryone: "Für alle löschen",
    forEveryoneHint:
      "Für alle in diesem Chat wird sie mit ihren Reaktionen gelöscht. Das lässt sich nicht rückgängig machen.",
    cancel: "Abbrechen",
    deletedForMe: "Die Nachricht ist für dich gelöscht.",
    undo: "Rückgängig",
  },
  forwarding: {
    title: "Nachricht weiterleiten",
    chosen: "Ausgewählte Chats",
    most: (count) =>
      plural(count, { one: "Du kannst 1 Chat auswählen.", other: `Du kannst bis zu ${number(count)} Chats auswählen.` }),
    remove: (name) => `${name} entfernen`,
    recent: "Letzte Chats",
    send: "Weiterleiten",
    forwardedTo: (names) => `Weitergeleitet an ${names}.`,
    deleted: "Diese Nachricht wurde inzwischen gelöscht und lässt sich nicht weiterleiten.",
  },
  picker: {
    search: "Emojis suchen",
    loading: "Emojis werden geladen",
    none: "Keine Emojis gefunden",
    found: "Gefunden",
    foundCount: (count) => `Gefundene Emojis: ${number(count)}`,
    groups: "Gruppen",
    recent: "Zuletzt benutzt",
    smileys: "Smileys und Gefühle",
    people: "Menschen",
    nature: "Tiere und Natur",
    food: "Essen und Trinken",
    travel: "Reisen und Orte",
    activities: "Aktivitäten",
    objects: "Gegenstände",
    symbols: "Symbole",
    flags: "Flaggen",
  },
  profile: {
    title: "Profil",
    own: "Dein Profil",
    name: "Dein Name",
    about: "Über dich",
    aboutHint: "Bis zu 200 Zeichen.",
    save: "Speichern",
  },
  settings: {
    title: "Einstellungen",
    look: "Aussehen",
    theme: "Farben",
    themeSystem: "Wie das System",
    themeLight: "Hell",
    themeDark: "Dunkel",
    textSize: "Schriftgröße",
    sizeSmall: "Klein",
    sizeNormal: "Mittel",
    sizeLarge: "Groß",
    sizeLargest: "Sehr groß",
    times: "Uhrzeiten",
    timesSystem: "Wie das System",
    hours: (count) => `${number(count)} Stunden`,
    language: "Sprache",
    languageSystem: "Wie im Browser",
    notifications: "Benachrichtigungen",
    outside: "Benachrichtigungen außerhalb dieser Seite",
    unsupported: "Dieser Browser zeigt für diese Seite keine an: Dafür braucht sie eine Adresse mit https.",
    blocked:
      "Der Browser blockiert sie für diese Seite. Erlaube sie in seinen Einstellungen für diese Seite und lade sie neu.",
    content: "Absender und Text darin anzeigen",
    sound: "Ein Ton bei neuen Nachrichten",
    privacy: "Privatsphäre",
    typing: "Anderen zeigen, wenn ich schreibe",
  },
  signIns: {
    title: "Wo du angemeldet bist",
    hint: "Ein Browser in Gebrauch meldet sich alle paar Minuten.",
    endOthers: "Alle anderen abmelden",
    unnamed: "Gerät ohne Namen",
    here: "Dieser Browser",
    lastSeen: (time) => `Zuletzt aktiv: ${time}`,
    end: "Abmelden",
    endOf: (device) => `${device} abmelden`,
  },
  password: {
    title: "Passwort",
    current: "Aktuelles Passwort",
    new: "Neues Passwort",
    show: "Passwörter anzeigen",
    typeCurrent: "Gib dein aktuelles Passwort ein.",
    change: "Passwort ändern",
    changed: "Das Passwort ist geändert. Alle anderen Geräte wurden abgemeldet.",
  },
  account: {
    title: "Konto",
    signOut: "Abmelden",
    delete: "Konto löschen …",
    deletion:
      "Dein Profil, dein Passwort und deine Anmeldungen werden endgültig gelöscht. Deine Nachrichten bleiben, und dein Benutzername wird nicht wieder vergeben.",
    yourPassword: "Dein Passwort",
    deleteMine: "Mein Konto löschen",
    adminsStay:
      "Das Konto eines Admins kann hier nicht gelöscht werden. Zuerst muss ihm auf dem Server die Rolle entzogen werden.",
  },
};
