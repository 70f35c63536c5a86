// Messages of a chat: conversion from the wire, order and deduplication. Pure functions on immutable values.

import { fold, UNCHANGED } from "./changes.js";
import { controlTexts } from "./controls.js";
import { plainText } from "./formatting.js";
import { compareIds, timeOfId } from "./ids.js";
import { isDeleted } from "./kinds/deleted.js";
import { mentionsOf, textOf } from "./kinds/edited.js";
import { texts } from "./languages/language.js";
import { Profiles } from "./profiles.js";

/** @import {ChangeEvent} from "./changes.js" */
/** @import {Entry, Message, MessageFile} from "./types.js" */
/** @import {Event as WireEvent, HistoryMessage, Message as WireMessage} from "./wire.js" */

/** A message as it was sent. @param {WireMessage} wire @returns {Message} */
export function fromWire({ message_id, chat_id, sender_id, client_message_id = "", text, control, ...rest }) {
  const { reply_to = "", forwarded = false, files = [] } = rest;
  return {
    key: client_message_id ? `${sender_id}:${client_message_id}` : message_id,
    message_id,
    chat_id,
    sender_id,
    client_message_id,
    body: text?.body ?? "",
    mentions: text?.mentions ?? [],
    mentions_everyone: text?.mentions_everyone ?? false,
    control: control ?? null,
    files,
    forwarded,
    reply_to: reply_to === "0" ? "" : reply_to,
    at_ms: timeOfId(message_id),
    changes: UNCHANGED,
    state: "accepted",
    isChanging: false,
    error: "",
  };
}

/** @param {HistoryMessage} item */
export const fromHistory = ({ message, changes = [] }) => withChanges(fromWire(message), changes.flatMap(changeIn));

/** The change of an event, if it has one. @param {WireEvent} event @returns {ChangeEvent[]} */
export const changeIn = ({ event_id = "0", change }) => (change ? [{ event_id, change }] : []);

/**
 * The user's own message that is not acknowledged yet.
 * @param {Entry} entry
 * @param {string} me the user's id
 * @returns {Message}
 */
export function fromEntry(entry, me) {
  const { client_id, chat_id, body, mentions = [], mentions_everyone = false, forwarded = false } = entry;
  const { reply_to, files = [], created_ms, state, error } = entry;
  return {
    key: `${me}:${client_id}`,
    message_id: "",
    chat_id,
    sender_id: me,
    client_message_id: client_id,
    body,
    mentions,
    mentions_everyone,
    files,
    forwarded,
    reply_to,
    at_ms: created_ms,
    changes: UNCHANGED,
    state,
    isChanging: false,
    error,
  };
}

/** The text that the page shows for a message, beside its files. @param {Message} message */
export const shownText = (message) =>
  isDeleted(message) ? texts.message.deleted : textOf(message) || (message.files.length ? "" : texts.message.newerVersion);

/**
 * The files of a message in a few words: their number and kind, or the name of the only one. Empty without files.
 * @param {readonly MessageFile[]} files
 */
export function filesText(files) {
  const [first, second] = files;
  if (!first) return "";
  if (files.every(({ width }) => width)) return texts.files.pictures(files.length);
  if (second) return texts.files.several(files.length);
  return first.duration_ms ? texts.files.voice : first.name;
}

/** Files in a few words before a text; either may be missing. @param {readonly MessageFile[]} files @param {string} text */
export function captioned(files, text) {
  const words = filesText(files);
  return words && text ? texts.files.captioned(words, text) : words || text;
}

/** The present names of the mentioned users, as one text. @param {Message} message @param {Profiles} profiles */
export const mentionedNames = (message, profiles) =>
  mentionsOf(message)
    .map((mention) => profiles.mentioned(mention))
    .join("\n");

/** @type {WeakMap<Message, {plain: string, names: string}>} */
const plainTexts = new WeakMap();

/**
 * The files, and the shown text without markup and with present names, for a single line; kept, because it is asked for
 * at each rendering.
 * @param {Message} message
 * @param {Profiles} profiles
 */
export function shownPlain(message, profiles) {
  if (message.control) return controlTexts(message, message.control, profiles).join(" · ");
  const names = mentionedNames(message, profiles);
  const known = plainTexts.get(message);
  if (known?.names === names) return known.plain;
  const text = plainText(shownText(message), mentionsOf(message), (mention) => profiles.mentioned(mention));
  const plain = captioned(message.files, text);
  plainTexts.set(message, { plain, names });
  return plain;
}

/** The content of a deleted message. */
const EMPTY = { body: "", mentions: [], mentions_everyone: false, files: [], forwarded: false, reply_to: "" };

/**
 * The message after further changes to it; the same object if nothing changes. A deleted message loses its content.
 * @param {Message} message
 * @param {Iterable<ChangeEvent>} events
 * @returns {Message}
 */
export function withChanges(message, events) {
  const changes = fold(message.changes, events);
  if (changes === message.changes) return message;
  return { ...message, changes, ...(isDeleted({ changes }) ? EMPTY : {}) };
}

/**
 * Merges two lists in order, without duplicates. Messages with the same id, or the same sender and client_message_id,
 * are one message: the lowest id stays, and for the same id the incoming message with the changes of both.
 * @param {readonly Message[]} known in order
 * @param {readonly Message[]} incoming in any order
 * @returns {Message[]}
 */
export function merge(known, incoming) {
  const byKey = new Map(known.map((message) => [message.key, message]));
  for (const message of incoming) {
    const other = byKey.get(message.key);
    const order = other ? compareIds(message.message_id, other.message_id) : -1;
    if (other && order === 0) byKey.set(message.key, withChanges(message, other.changes.values()));
    else if (order < 0) byKey.set(message.key, message);
  }
  return [...byKey.values()].sort((a, b) => compareIds(a.message_id, b.message_id));
}

/**
 * Adds a live message. A message that is already in the list stays as it is.
 * @param {readonly Message[]} known
 * @param {Message} message
 */
export function withLive(known, message) {
  if (known.some((other) => other.key === message.key)) return known;
  const newest = known.at(-1);
  if (!newest || compareIds(newest.message_id, message.message_id) < 0) return [...known, message];
  return merge(known, [message]);
}
