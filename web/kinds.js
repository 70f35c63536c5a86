// The kinds of changes, by the name of their field in Change. `make protos` generates this file from protos/.

/**
 * @typedef {object} Kind
 * @property {"LAST" | "MAX" | "WINS"} law
 * @property {readonly string[]} key the fields of the change, and of its body, that are part of the key of the state
 * @property {boolean} [outlives] whether its changes stay beside one that wins
 */
/** @type {Readonly<Record<string, Kind>>} */
export const KINDS = {
  reacted: { law: "LAST", key: ["actor_id", "reacted.emoji"] },
  marked: { law: "MAX", key: ["actor_id"] },
  edited: { law: "LAST", key: [] },
  deleted: { law: "WINS", key: [] },
  pinned: { law: "LAST", key: [] },
  hidden: { law: "LAST", key: ["actor_id"], outlives: true },
  marked_unread: { law: "LAST", key: ["actor_id"] },
  starred: { law: "LAST", key: ["actor_id"] },
  muted: { law: "LAST", key: ["actor_id"] },
  chat_pinned: { law: "LAST", key: ["actor_id"] },
  archived: { law: "LAST", key: ["actor_id"] },
  previewed: { law: "LAST", key: [] },
  without_previews: { law: "LAST", key: ["actor_id"] },
};
