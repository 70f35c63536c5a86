// The state of a target, a message or a chat, into which changes fold by the laws of their kinds. The state does not
// depend on the order of the changes, nor on repetitions. The twin of `shared/contract/changes.py`. Pure functions on
// immutable values.

import { compareIds, laterId } from "./ids.js";
import { KINDS } from "./kinds.js";

/** @import {Change} from "./wire.js" */

/** A change as the event that made it. @typedef {{event_id: string, change: Change}} ChangeEvent */
/** The current changes of one target, by key. @typedef {ReadonlyMap<string, ChangeEvent>} State */

/** @type {State} */
export const UNCHANGED = new Map();

/** The keys of the kinds that win: they have no fields. */
const WINNERS = Object.keys(KINDS).flatMap((name) => (KINDS[name]?.law === "WINS" ? JSON.stringify([name]) : []));

/** The name of the change's kind; undefined if only a newer version knows it. @param {Change} change */
const kindOf = (change) => Object.keys(KINDS).find((name) => name in change);

/** The kind of a change, and its key's values, which identify the change in a state. @param {Change} change */
export function keyOf(change) {
  const kind = kindOf(change) ?? "";
  return JSON.stringify([kind, ...(KINDS[kind]?.key ?? []).map((path) => valueAt(change, path))]);
}

/** @param {any} value @param {string} path */
function valueAt(value, path) {
  for (const name of path.split(".")) value = value?.[name];
  return value ?? "";
}

/** The newest change of a kind in a state. @param {State} state @param {keyof Change} kind */
export function newestOf(state, kind) {
  /** @type {ChangeEvent | undefined} */
  let newest;
  if (!state.size) return newest; // most messages have no change, and each rendering asks for those of all of them
  for (const event of state.values()) if (kind in event.change) newest = newest ? newer(newest, event) : event;
  return newest;
}

/** The changes of a state in order of their event ids. @param {State} state */
export const inOrder = (state) => [...state.values()].sort((a, b) => compareIds(a.event_id, b.event_id));

/**
 * The state after further changes; the same object if nothing changes.
 * @param {State} state
 * @param {Iterable<ChangeEvent>} events
 * @returns {State}
 */
export function fold(state, events) {
  const after = new Map(state);
  let isChanged = false;
  for (const event of events) isChanged = apply(after, event) || isChanged;
  return isChanged ? after : state;
}

/**
 * Applies a change to a state. Returns whether the state has changed.
 * @param {Map<string, ChangeEvent>} state
 * @param {ChangeEvent} event
 */
function apply(state, event) {
  const kind = kindOf(event.change);
  const law = kind && KINDS[kind]?.law;
  if (!law) return false;
  const key = keyOf(event.change);
  if (law === "WINS") return win(state, key, event);
  if (!KINDS[kind]?.outlives && winnerOf(state)) return false;
  const known = state.get(key);
  const after = !known ? event : law === "MAX" ? highest(kind, known, event) : newer(known, event);
  state.set(key, after);
  return after !== known;
}

/**
 * Keeps the first of the changes that win, and others only of kinds that outlive it.
 * @param {Map<string, ChangeEvent>} state
 * @param {string} key
 * @param {ChangeEvent} event
 */
function win(state, key, event) {
  const winner = winnerOf(state);
  if (winner && compareIds(winner.event_id, event.event_id) <= 0) return false;
  for (const [other, { change }] of state) if (!KINDS[kindOf(change) ?? ""]?.outlives) state.delete(other);
  state.set(key, event);
  return true;
}

/** The change that has won. @param {State} state */
const winnerOf = (state) => WINNERS.map((key) => state.get(key)).find(Boolean);

/** @param {ChangeEvent} known @param {ChangeEvent} event */
const newer = (known, event) => (compareIds(known.event_id, event.event_id) < 0 ? event : known);

/**
 * The newer of two events, with the highest values of both. The fields of a kind with the law MAX are ids.
 * @param {string} kind
 * @param {ChangeEvent} known
 * @param {ChangeEvent} event
 */
function highest(kind, known, event) {
  /** @returns {Record<string, string>} */
  const bodyOf = (/** @type {any} */ change) => change[kind];
  const { event_id, change } = newer(known, event);
  const [before, other] = [bodyOf(known.change), bodyOf(event.change)];
  const body = { ...before };
  for (const [field, id] of Object.entries(other)) body[field] = laterId(before[field] ?? "0", id);
  const isSame = event_id === known.event_id && Object.entries(body).every(([field, id]) => before[field] === id);
  return isSame ? known : { event_id, change: { ...change, [kind]: body } };
}
