// English, and the list of all texts. A group has the name of the part of the page that shows it.

import { intl } from "./intl.js";

const { plural, number } = intl("en");

/** @typedef {string} Name of a person as it is shown */

export const en = {
  // ---- used in several places
  deletedAccount: "Deleted account",
  moreThan: (/** @type {number} */ count) => `${number(count)}+`,
  day: { today: "Today", yesterday: "Yesterday" },
  typing: "typing…",
  /** In a group. */
  typingIn: {
    one: (/** @type {Name} */ name) => `${name} is typing…`,
    two: (/** @type {Name} */ name, /** @type {Name} */ other) => `${name} and ${other} are typing…`,
    more: (/** @type {number} */ others, /** @type {Name} */ name) =>
      plural(others, {
        one: `${name} and 1 other are typing…`,
        other: `${name} and ${number(others)} others are typing…`,
      }),
  },
  /** When another user is online, below the name. */
  seen: {
    online: "online",
    justNow: "last seen just now",
    minutesAgo: (/** @type {number} */ count) =>
      plural(count, { one: "last seen 1 minute ago", other: `last seen ${number(count)} minutes ago` }),
    today: (/** @type {string} */ time) => `last seen today at ${time}`,
    yesterday: (/** @type {string} */ time) => `last seen yesterday at ${time}`,
    on: (/** @type {string} */ day) => `last seen on ${day}`,
  },
  loading: "Loading…",
  tryAgain: "Try again",
  close: "Close",
  emoji: "Emoji",
  newPasswordRule: (/** @type {number} */ length) =>
    `At least ${number(length)} characters: a short sentence works well.`,
  typeYourPassword: "Type your password.",
  signedOut: "You have been signed out. Sign in to go on.",
  device: {
    unknown: "Browser",
    on: (/** @type {string} */ browser, /** @type {string} */ system) => `${browser} on ${system}`,
  },

  /** Failures of requests. */
  failed: {
    noResponse: "The server does not respond. Check your connection and try again.",
    signedOut: "You have been signed out.",
    unknown: "Something went wrong. Try again.",
    tooManyAttempts: (/** @type {number} */ minutes) => `Too many attempts. Try again in ${number(minutes)} minutes.`,
  },
  /** Refusals of the server, by their codes. */
  refused: {
    too_large: "This is over a limit of the server: too long, or too many.",
    unauthenticated: "You have been signed out. Sign in again.",
    suspended: "This account is suspended. Ask an admin to restore it.",
    forbidden: "You are not allowed to do this.",
    not_found: "This is not there any more.",
    recipient_deleted: "This account was deleted: it receives no messages.",
    invite_required: "You need a valid invite to create an account here. Ask an admin for a link.",
    name_taken: "That name is taken. Try another.",
    version_conflict: "This was changed meanwhile. Look at it again, then save.",
    rate_limited: "Too many attempts. Wait a moment, then try again.",
    incomplete: "The connection was too slow. Try again.",
    timed_out: "The server took too long. Try again.",
    unavailable: "The server can’t do this now. Try again soon.",
  },
  /** Refusals because of one field. */
  refusedField: {
    name: "3 to 32 of the letters a to z, digits, dots, dashes and underscores.",
    displayName: "Your name must have 1 to 64 characters on one line.",
    about: "At most 200 characters on one line.",
    password: "A password has 10 to 128 characters.",
    wrongPassword: "The current password is wrong.",
    notAccepted: "This person accepts no messages from people they don’t know.",
    usedLink: "This link has expired, or was used or replaced. Ask an admin for a new one.",
  },

  // ---- before signing in
  signIn: {
    userName: "User name",
    yourName: "Your name",
    yourNameHint: "As others see it. You can change it later.",
    password: "Password",
    showPassword: "Show the password",
    title: "Welcome to Rookery",
    lead: "Sign in to your team’s chat.",
    toJoin: "You are invited to a group. With an account you can see and join it.",
    submit: "Sign in",
    toSignIn: "I have an account",
    typeName: "Type your user name.",
    wrong: "User name or password is wrong. If you have lost your password, ask an admin for a link to set a new one.",
  },
  create: {
    title: "Create an account",
    lead: "Pick the name that others find you by.",
    submit: "Create account",
    toCreate: "Create an account",
  },
  reset: {
    title: "Set a new password",
    lead: "You will be signed out on all your devices.",
    submit: "Set password",
    toSignIn: "Sign in instead",
    perhapsSet:
      "This link was already used, perhaps by your first try. Try to sign in with the new password.",
  },

  // ---- around the chats
  shell: {
    title: (/** @type {Name} */ name) => `${name} · Rookery`,
    unread: (/** @type {number} */ count, /** @type {string} */ title) => `(${number(count)}) ${title}`,
    announced: (/** @type {Name} */ name, /** @type {string} */ text) => `${name}: ${text}`,
    announcer: "New messages",
    reconnecting: "Reconnecting. What you write is kept and sent when the connection is back.",
    tooManySessions: "You have too many tabs or devices open. Close one, then try again.",
    tryNow: "Try now",
    unkept: "This browser’s storage is full or blocked. What is not sent yet is lost when you close the page.",
    newVersion: "A new version is ready.",
    reload: "Reload",
    pickChat: "Pick a chat",
    pickChatHint: "Or find someone to write to.",
    welcome: "Welcome to Rookery",
    welcomeHint: "Write to someone of your team.",
    findSomeone: "Find someone",
    accountDeleted: "Your account is deleted.",
    unsentAtSignOut: (/** @type {number} */ count) =>
      plural(count, {
        one: "One message or change is not sent yet and will be lost. Sign out?",
        other: `${number(count)} messages or changes are not sent yet and will be lost. Sign out?`,
      }),
  },
  notification: {
    hidden: "You have a new message.",
    fromUnknown: "New message",
    question: "Get a notification when a message arrives while you are elsewhere?",
    turnOn: "Turn on",
    notNow: "Not now",
  },

  // ---- the list of chats
  chats: {
    label: "Chats",
    menu: "Menu",
    search: "Search people and chats",
    newChat: "New chat",
    newChatKeys: "New chat (Ctrl K)",
    notLoaded: "Your chats could not be loaded.",
    none: "No chats yet",
    noneHint: "Search for someone by name and say hello.",
    /** "99+" may be shown for a count. */
    unread: (/** @type {number} */ _count, /** @type {string} */ shown) => `${shown} unread`,
    markAsUnread: "Mark as unread",
    markedUnread: "Marked as unread",
    pin: "Pin to the top",
    unpin: "Unpin from the top",
    notifications: "Notifications",
    archive: "Archive",
    unarchive: "Move out of the archive",
    withoutPreviews: "Don’t preview my links",
    withPreviews: "Preview my links",
    pinned: "Pinned to the top",
    muted: "Muted",
    archived: "Archived chats",
    filter: "Chats to show",
    filters: { all: "All", unread: "Unread", mentions: "Mentions", groups: "Groups" },
    noneFiltered: { unread: "No unread chats", mentions: "No unread mentions", groups: "No groups yet" },
    /** "99+" may be shown for a count. */
    mentions: (/** @type {number} */ count, /** @type {string} */ shown) =>
      plural(count, { one: "1 mention", other: `${shown} mentions` }),
    readAll: "Mark all as read",
    all: "Back to all chats",
    yourProfile: "Your profile",
    findGroups: "Find groups",
    settings: "Settings",
    admin: "Admin",
    signOut: "Sign out",
  },
  /** Before a text, in the list of chats. */
  preview: { you: "You:", draft: "Draft:", failed: "Not sent:" },
  /** The files of a message in a few words. */
  files: {
    pictures: (/** @type {number} */ count) => plural(count, { one: "Photo", other: `${number(count)} photos` }),
    several: (/** @type {number} */ count) => `${number(count)} files`,
    voice: "Voice message",
    captioned: (/** @type {string} */ files, /** @type {string} */ text) => `${files}: ${text}`,
  },
  search: {
    chats: "Chats",
    people: "People",
    failed: "The search failed.",
    noResponse: "The server does not respond.",
    nobody: "Nobody found",
    nobodyHint: (/** @type {string} */ text) => `Nobody has a name with “${text}”.`,
    onlyYou: "This is you",
    onlyYouHint: (/** @type {string} */ text) => `Nobody else has a name with “${text}”.`,
  },
  start: {
    title: "People to write to",
    nobody: "Nobody else has an account yet.",
    invite: "Invite people",
  },

  // ---- a chat
  chat: {
    with: (/** @type {Name} */ name) => `Chat with ${name}`,
    group: (/** @type {string} */ name) => `Group ${name}`,
    members: (/** @type {number} */ count) => plural(count, { one: "1 member", other: `${number(count)} members` }),
    loading: "Chat",
    back: "Back to chats",
    options: "Chat options",
    profile: "Profile",
    missing: "Chat not found",
    missingHint: "The address may be wrong, or the chat belongs to someone else.",
    closed: "This account was deleted. The messages stay here.",
    left: "You are not a member of this group any more. You see it as it was when you left.",
    readOnly: "You may not send messages in this group.",
    goToDate: "Go to a date",
    pinned: "Pinned message",
  },
  group: { create: "New group", info: "Group info", seenBy: "Seen by" },
  messages: {
    label: "Messages",
    hint: "Arrow keys go from message to message, Enter reacts, Tab goes to links and buttons.",
    loading: "Loading messages",
    notLoaded: "The messages could not be loaded.",
    new: "New messages",
    none: "No messages yet",
    sayHello: (/** @type {Name} */ name) => `Say hello to ${name}.`,
    sayHelloToUnknown: "Say hello.",
    began: (/** @type {Name} */ name) => `This is where your chat with ${name} began.`,
    beganWithUnknown: "This is where your chat began.",
    groupBegan: (/** @type {string} */ name) => `This is where the group ${name} began.`,
    beganBefore: "Messages from before you joined are not shown.",
    toNewest: "Go to the newest message",
    arrived: (/** @type {number} */ count) =>
      plural(count, { one: "1 new message", other: `${number(count)} new messages` }),
    unreadAbove: "Unread messages above",
    markAsRead: "Mark as read",
  },
  message: {
    label: "Message",
    you: "You",
    someone: "Someone",
    by: (/** @type {Name} */ name) => `${name}:`,
    stateAt: (/** @type {string} */ time, /** @type {string} */ state) => `${time} · ${state}`,
    react: "React",
    more: "More",
    copyText: "Copy text",
    textCopied: "The text is copied.",
    copyLink: "Copy link",
    linkCopied: "The link is copied.",
    notCopied: "This browser does not let the page copy.",
    copyCode: "Copy code",
    codeCopied: "The code is copied.",
    spoiler: "Spoiler",
    newerVersion: "This message needs a newer version of the page.",
    notSent: "Not sent",
    sendWithout: "Send without this file",
    delete: "Delete",
    report: "Report",
    reply: "Reply",
    edit: "Edit",
    forward: "Forward",
    forwarded: "Forwarded",
    edited: "edited",
    editedAt: (/** @type {string} */ time) => `Edited: ${time}`,
    editHistory: "History of edits",
    removePreview: "Remove preview",
    deleted: "This message was deleted",
    showMore: "Show more",
  },
  /**
   * Lines in a group about its changes: by the user of this page (own), to that user (you), by and to others. Names may
   * be a list of names.
   */
  control: {
    others: (/** @type {number} */ count) => plural(count, { one: "1 other", other: `${number(count)} others` }),
    created: {
      own: (/** @type {string} */ group) => `You created the group “${group}”`,
      other: (/** @type {Name} */ actor, /** @type {string} */ group) => `${actor} created the group “${group}”`,
    },
    createdChannel: {
      own: (/** @type {string} */ group) => `You created the channel “${group}”`,
      other: (/** @type {Name} */ actor, /** @type {string} */ group) => `${actor} created the channel “${group}”`,
    },
    added: {
      own: (/** @type {string} */ names) => `You added ${names}`,
      you: (/** @type {number} */ others, /** @type {Name} */ actor) =>
        plural(others, {
          one: `${actor} added you and 1 other`,
          other: others ? `${actor} added you and ${number(others)} others` : `${actor} added you`,
        }),
      other: (/** @type {Name} */ actor, /** @type {string} */ names) => `${actor} added ${names}`,
    },
    removed: {
      own: (/** @type {Name} */ name) => `You removed ${name}`,
      you: (/** @type {Name} */ actor) => `${actor} removed you`,
      other: (/** @type {Name} */ actor, /** @type {Name} */ name) => `${actor} removed ${name}`,
    },
    left: { own: "You left the group", other: (/** @type {Name} */ name) => `${name} left the group` },
    joined: { own: "You joined the group", other: (/** @type {Name} */ name) => `${name} joined the group` },
    joinedByLink: {
      own: "You joined by an invite link",
      other: (/** @type {Name} */ name) => `${name} joined by an invite link`,
    },
    asked: { own: "You asked to join", other: (/** @type {Name} */ name) => `${name} asked to join` },
    askedNoMore: {
      own: "You took back your request to join",
      other: (/** @type {Name} */ name) => `${name} took back the request to join`,
    },
    declined: {
      own: (/** @type {Name} */ name) => `You declined the request of ${name}`,
      you: (/** @type {Name} */ actor) => `${actor} declined your request`,
      other: (/** @type {Name} */ actor, /** @type {Name} */ name) => `${actor} declined the request of ${name}`,
    },
    name: {
      own: (/** @type {string} */ group) => `You changed the name to “${group}”`,
      other: (/** @type {Name} */ actor, /** @type {string} */ group) => `${actor} changed the name to “${group}”`,
    },
    topic: {
      own: (/** @type {string} */ topic) => `You changed the topic to “${topic}”`,
      other: (/** @type {Name} */ actor, /** @type {string} */ topic) => `${actor} changed the topic to “${topic}”`,
    },
    noTopic: { own: "You removed the topic", other: (/** @type {Name} */ actor) => `${actor} removed the topic` },
    guest: {
      own: (/** @type {Name} */ name) => `You made ${name} a guest`,
      you: (/** @type {Name} */ actor) => `${actor} made you a guest`,
      other: (/** @type {Name} */ actor, /** @type {Name} */ name) => `${actor} made ${name} a guest`,
    },
    member: {
      own: (/** @type {Name} */ name) => `You made ${name} a member`,
      you: (/** @type {Name} */ actor) => `${actor} made you a member`,
      other: (/** @type {Name} */ actor, /** @type {Name} */ name) => `${actor} made ${name} a member`,
    },
    admin: {
      own: (/** @type {Name} */ name) => `You made ${name} an admin`,
      you: (/** @type {Name} */ actor) => `${actor} made you an admin`,
      other: (/** @type {Name} */ actor, /** @type {Name} */ name) => `${actor} made ${name} an admin`,
    },
    owner: {
      own: (/** @type {Name} */ name) => `You made ${name} the owner`,
      you: (/** @type {Name} */ actor) => `${actor} made you the owner`,
      other: (/** @type {Name} */ actor, /** @type {Name} */ name) => `${actor} made ${name} the owner`,
    },
    rights: {
      own: (/** @type {Name} */ name) => `You changed the permissions of ${name}`,
      you: (/** @type {Name} */ actor) => `${actor} changed your permissions`,
      other: (/** @type {Name} */ actor, /** @type {Name} */ name) => `${actor} changed the permissions of ${name}`,
    },
    permissions: {
      own: "You changed the permissions of members",
      other: (/** @type {Name} */ actor) => `${actor} changed the permissions of members`,
    },
    historyShown: {
      own: "You let new members read earlier messages",
      other: (/** @type {Name} */ actor) => `${actor} let new members read earlier messages`,
    },
    historyHidden: {
      own: "You hid earlier messages from new members",
      other: (/** @type {Name} */ actor) => `${actor} hid earlier messages from new members`,
    },
    madePublic: {
      own: "You made the group public",
      other: (/** @type {Name} */ actor) => `${actor} made the group public`,
    },
    madePrivate: {
      own: "You made the group private",
      other: (/** @type {Name} */ actor) => `${actor} made the group private`,
    },
    madeChannel: {
      own: "You made the group a channel",
      other: (/** @type {Name} */ actor) => `${actor} made the group a channel`,
    },
    previewsOn: {
      own: "You turned previews of links on",
      other: (/** @type {Name} */ actor) => `${actor} turned previews of links on`,
    },
    previewsOff: {
      own: "You turned previews of links off",
      other: (/** @type {Name} */ actor) => `${actor} turned previews of links off`,
    },
    approvalOn: {
      own: "You turned approval of new members on",
      other: (/** @type {Name} */ actor) => `${actor} turned approval of new members on`,
    },
    approvalOff: {
      own: "You turned approval of new members off",
      other: (/** @type {Name} */ actor) => `${actor} turned approval of new members off`,
    },
    inviteMade: {
      own: "You created an invite link",
      other: (/** @type {Name} */ actor) => `${actor} created an invite link`,
    },
    inviteRevoked: {
      own: "You ended an invite link",
      other: (/** @type {Name} */ actor) => `${actor} ended an invite link`,
    },
    picture: { own: "You changed the picture", other: (/** @type {Name} */ actor) => `${actor} changed the picture` },
    noPicture: { own: "You removed the picture", other: (/** @type {Name} */ actor) => `${actor} removed the picture` },
    changed: { own: "You changed the group", other: (/** @type {Name} */ actor) => `${actor} changed the group` },
  },
  /** The kinds by which messages are listed: the menu of a message, the sign on it, and the list. */
  listed: {
    pinned: {
      set: "Pin",
      remove: "Unpin",
      byYou: "Pinned by you",
      by: (/** @type {Name} */ name) => `Pinned by ${name}`,
      bySomeone: "Pinned",
      title: "Pinned messages",
    },
    starred: {
      set: "Star",
      remove: "Unstar",
      byYou: "Starred",
      title: "Starred messages",
    },
  },
  quote: {
    of: (/** @type {Name} */ name) => `In reply to ${name}:`,
    ofOwn: "In reply to your message:",
    missing: "This message is not there any more.",
    hidden: "You deleted this message for yourself.",
  },
  /** States of the user's own messages. */
  state: { waiting: "Waiting to send", sending: "Sending…", sent: "Sent", delivered: "Delivered", read: "Read" },
  reaction: {
    label: "React with",
    more: "More emoji",
    you: "you",
    someone: "someone",
    notLoaded: "The emoji could not be loaded.",
    count: (/** @type {number} */ count, /** @type {string} */ emoji) => `${emoji} ${number(count)}`,
    countBy: (/** @type {string} */ count, /** @type {string} */ names) => `${count}: ${names}`,
    thumbsUp: "thumbs up",
    heart: "heart",
    tearsOfJoy: "tears of joy",
    fire: "fire",
    eyes: "eyes",
  },
  composer: {
    placeholder: "Message",
    label: (/** @type {Name} */ name) => `Message to ${name}`,
    send: "Send",
    editing: "Editing a message",
    editLabel: "Text of the edited message",
    save: "Save",
    cancelEdit: "Cancel editing",
    replyingTo: (/** @type {Name} */ name) => `Reply to ${name}`,
    replyingToOwn: "Reply to your message",
    cancelReply: "Cancel the reply",
    members: "Members",
    /** After `@`, one of `EVERYONE` of mentions.js. */
    everyone: "everyone",
    everyoneHint: "All members are notified",
    tooLong: (/** @type {number} */ bytes) =>
      plural(bytes, {
        one: "Too long by 1 byte. Send it in parts.",
        other: `Too long by ${number(bytes)} bytes. Send it in parts.`,
      }),
  },
};
