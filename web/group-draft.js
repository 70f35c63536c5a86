// A form of a group's settings. Others may change the settings while it is open: an input that the user has not touched
// follows them, and what the user has entered stays. Pure functions and values.

import { maskOf, PERMISSIONS } from "./groups.js";

/** @import {GroupSettings} from "./wire.js" */

/** The permissions of members that the form sets. */
export const SWITCHED = /** @type {const} */ (["POST", "REACT", "PIN", "ADD_MEMBERS", "EDIT_SETTINGS", "MENTION_EVERYONE"]);

/** The settings that are on or off. */
export const FLAGS = /** @type {const} */ (["shows_history", "is_public", "asks_to_join", "without_previews"]);

/** @typedef {typeof FLAGS[number] | typeof SWITCHED[number]} SwitchName */
/** @typedef {"name" | "topic" | SwitchName} SettingName */
/** @typedef {Partial<Record<SettingName, string | boolean>>} SettingValues a text, or whether a switch is on */

/** @param {GroupSettings} settings @returns {SettingValues} */
export function valuesOf(settings) {
  const mask = maskOf(settings.permissions);
  const switches = SWITCHED.map((permission) => [permission, (mask & PERMISSIONS[permission]) > 0]);
  const flags = FLAGS.map((flag) => [flag, settings[flag] ?? false]);
  return { name: settings.name, topic: settings.topic ?? "", ...Object.fromEntries([...flags, ...switches]) };
}

/** @param {SettingValues} values */
export const namesIn = (values) => /** @type {SettingName[]} */ (Object.keys(values));

/**
 * The body of the request that sets some values.
 * @param {GroupSettings} settings
 * @param {SettingValues} changed
 */
export function bodyOf(settings, changed) {
  const { name, topic } = changed;
  const switched = SWITCHED.filter((each) => changed[each] !== undefined);
  const bits = (/** @type {boolean} */ isOn) =>
    BigInt(switched.reduce((all, each) => all | (changed[each] === isOn ? PERMISSIONS[each] : 0), 0));
  // Permissions that the form does not set stay.
  const permissions = (BigInt(settings.permissions ?? "0") & ~bits(false)) | bits(true);
  return {
    ...(typeof name === "string" ? { name } : {}),
    ...(typeof topic === "string" ? { topic } : {}),
    ...Object.fromEntries(FLAGS.filter((flag) => changed[flag] !== undefined).map((flag) => [flag, changed[flag]])),
    ...(switched.length ? { permissions: String(permissions) } : {}),
  };
}

export class GroupDraft {
  /** The values that the inputs got; an input with another one was touched. @type {SettingValues} */
  #given;

  /** @param {SettingValues} current at the start */
  constructor(current) {
    this.#given = current;
  }

  /**
   * The inputs after a change of the settings.
   * @param {SettingValues} current
   * @param {SettingValues} entered
   * @returns {{given: SettingValues, meanwhile: SettingName[]}} values for the untouched inputs, and touched texts that
   * others have changed to another value (a switch has no third one)
   */
  follow(current, entered) {
    /** @type {SettingValues} */
    const given = {};
    /** @type {SettingName[]} */
    const meanwhile = [];
    for (const name of namesIn(entered)) {
      if (current[name] === this.#given[name]) continue;
      const isTouched = entered[name] !== this.#given[name];
      if (isTouched && entered[name] !== current[name]) meanwhile.push(name);
      else this.#given = { ...this.#given, [name]: current[name] };
      if (!isTouched) given[name] = current[name] ?? "";
    }
    return { given, meanwhile };
  }

  /** What the user has changed. @param {SettingValues} current @param {SettingValues} entered @returns {SettingValues} */
  changed(current, entered) {
    const isChanged = (/** @type {SettingName} */ name) =>
      entered[name] !== this.#given[name] && entered[name] !== current[name];
    return Object.fromEntries(namesIn(entered).filter(isChanged).map((name) => [name, entered[name]]));
  }
}
