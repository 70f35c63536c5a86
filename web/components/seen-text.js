// The line about when a user is online.

import { dayLabel, daysBetween, timeOfDay } from "../format.js";
import { texts } from "../languages/language.js";

/** @import {Seen} from "../presence.js" */

const MINUTE_MS = 60_000;

/** Empty if nothing is known, or the user shows nothing. @param {Seen | undefined} seen @param {number} now_ms */
export function seenText(seen, now_ms) {
  if (!seen) return "";
  const { online, justNow, minutesAgo, today, yesterday, on } = texts.seen;
  const { isOnline, lastSeen_ms } = seen;
  if (isOnline || !lastSeen_ms) return isOnline ? online : "";
  const minutes = Math.floor((now_ms - lastSeen_ms) / MINUTE_MS);
  if (minutes < 60) return minutes < 1 ? justNow : minutesAgo(minutes);
  const days = daysBetween(lastSeen_ms, now_ms);
  if (days > 1) return on(dayLabel(lastSeen_ms, now_ms));
  return (days < 1 ? today : yesterday)(timeOfDay(lastSeen_ms));
}
