// The frames of a session, and chats and pages of history, as JSON. `make protos` generates this file from protos/. A
// 64-bit integer is a string of digits; a field with its default value is left out. For the type checker alone: nothing
// imports this file at run time.

/**
 * A frame has one answer: Welcome for Authenticate, or Moved, Reconnect or Goodbye, which end the session; Pong for
 * Ping; Accepted for the others; or Refused. Accepted and Refused have the number of the frame; the client's first
 * frame is 1. If the session ends first, there is no answer: the client sends the frame again in the next session.
 * @typedef {object} ClientFrame
 * @property {Authenticate} [authenticate]
 * @property {Renew} [renew]
 * @property {Send} [send]
 * @property {Change} [change]
 * @property {Typing} [typing]
 * @property {Ping} [ping]
 * @property {Watch} [watch]
 * @property {Follow} [follow]
 * @property {number} [first_sent_ms_ago] Of a Send or a Change: milliseconds since the client first sent it: 0 the
 * first time, and the maximum if the client does not know. The server reads history for a retry after minutes only.
 * Without this field it can't tell a retry after minutes from a first frame, except right after a session began: the
 * promise of 3 days is then one of minutes.
 */

/**
 * @typedef {object} Authenticate
 * @property {string} access_token
 * @property {Position} [last_position] The position of the last event that the client received; absent in a first
 * session.
 * @property {string} [client_name] The client's name for the user's list of devices; at most 64 bytes.
 */

/**
 * A position in a user's events, which a client sends in Authenticate to resume.
 * @typedef {object} Position
 * @property {string} [offset] The offset of the event's envelope in the partition of its recipient; -1 before the
 * first.
 * @property {number} [epoch] The epoch in which the offset was assigned: 1 until now. A position of another epoch is
 * answered with a Gap.
 */

/**
 * @typedef {object} Renew
 * @property {string} access_token
 */

/**
 * @typedef {object} Send
 * @property {string} client_message_id Chosen by the client, unique among the user's sends and changes, 1 to 64 bytes.
 * A retry with the same id, within 3 days of the first Send, has no second effect.
 * @property {string} chat_id
 * @property {string} [recipient_id] The other user of a direct chat; the chat is created by its first message.
 * @property {Text} [text]
 * @property {string} [reply_to] The message in the same chat to which this one replies; 0 if none.
 * @property {boolean} [forwarded] Whether the client copied the content from another message.
 * @property {FileRef[]} [files] Complete files that the user may read, in the order in which they are shown: at most
 * 10, each once. With files, the text may be empty.
 */

/**
 * @typedef {object} Text
 * @property {string} body UTF-8, not only white space unless the message has files, at most max_text_bytes of Limits.
 * @property {Mention[]} [mentions] Members of the chat whom the body mentions; at most 50, each once.
 * @property {boolean} [mentions_everyone] Whether the body mentions all members, with `@everyone` or its translation;
 * of a group only.
 */

/**
 * Wherever `@` and this name are in the body, the user is meant. Clients show the user's present name instead.
 * @typedef {object} Mention
 * @property {string} [user_id]
 * @property {string} [name] As the sender wrote it, without `@`: 1 to 64 bytes.
 */

/**
 * A file, and where the user may read it.
 * @typedef {object} FileRef
 * @property {string} [file_id]
 * @property {string} [chat_id] The message that has the file. Both are empty if the user is the file's owner.
 * @property {string} [message_id]
 */

/**
 * Anything but a message that happens in a chat and is kept. A client sends it without actor_id.
 * @typedef {object} Change
 * @property {string} chat_id
 * @property {string} [target_id] The message that is changed; 0 if the chat is.
 * @property {string} [actor_id] The user who made the change.
 * @property {string} [client_change_id] As Send.client_message_id: chosen by the client, unique among the user's sends
 * and changes, 1 to 64 bytes. Empty is allowed for kinds with LAW_MAX, which may be repeated.
 * @property {boolean} [is_private] Set by the server on a read mark in a direct chat whose users do not both show
 * theirs: only the devices of the actor receive it. A client's value is ignored.
 * @property {Reacted} [reacted]
 * @property {Marked} [marked]
 * @property {Edited} [edited]
 * @property {Deleted} [deleted]
 * @property {Pinned} [pinned]
 * @property {Hidden} [hidden]
 * @property {MarkedUnread} [marked_unread]
 * @property {Starred} [starred]
 * @property {Muted} [muted]
 * @property {ChatPinned} [chat_pinned]
 * @property {Archived} [archived]
 * @property {Previewed} [previewed]
 * @property {WithoutPreviews} [without_previews]
 */

/**
 * A reaction to a message was set or removed. A message with about 1,000 changes gets no further reaction
 * (`too_large`).
 * @typedef {object} Reacted
 * @property {string} emoji One emoji, at most 40 bytes.
 * @property {boolean} [set] False if the reaction was removed.
 */

/**
 * The marks of the actor in a chat.
 * @typedef {object} Marked
 * @property {string} [delivered_up_to] The last message up to which all messages have reached a device of the user; 0
 * leaves the mark unchanged.
 * @property {string} [read_up_to] The last message that the user has read; 0 leaves the mark unchanged.
 */

/**
 * The sender of a message replaced its content.
 * @typedef {object} Edited
 * @property {Text} [text]
 */

/**
 * The sender of a message, or in a group a member with PERMISSION_DELETE_MESSAGES, deleted it for everyone: its content
 * and all its changes except `Hidden` are removed from every store.
 * @typedef {object} Deleted
 */

/**
 * A member pinned a message for all members, or removed the pin.
 * @typedef {object} Pinned
 * @property {boolean} [set]
 */

/**
 * The actor deleted a message for themselves: their devices do not show it. False shows it again.
 * @typedef {object} Hidden
 * @property {boolean} [set]
 */

/**
 * The actor marked the chat as unread, without a change of their read mark. Clients remove it when the user opens the
 * chat.
 * @typedef {object} MarkedUnread
 * @property {boolean} [set]
 */

/**
 * The actor starred a message for themselves, or removed the star.
 * @typedef {object} Starred
 * @property {boolean} [set]
 */

/**
 * The actor muted a chat for themselves: their devices do not notify of its messages.
 * @typedef {object} Muted
 * @property {string} [until_ms] Until when, in milliseconds since 1970; 0 if the chat is not muted, the highest value
 * for ever.
 * @property {boolean} [except_mentions] Whether the devices still notify of messages that mention the actor.
 */

/**
 * The actor keeps a chat at the top of their list.
 * @typedef {object} ChatPinned
 * @property {boolean} [set]
 */

/**
 * The actor moved a chat out of their list. Clients show it in the list again when a new message arrives, unless it is
 * muted.
 * @typedef {object} Archived
 * @property {boolean} [set]
 */

/**
 * The server made a preview of the first link of a message, as its sender. Without `preview`, the sender, or in a group
 * a member with PERMISSION_DELETE_MESSAGES, took it away. Clients do not show a preview whose `url` is no link of the
 * text any more.
 * @typedef {object} Previewed
 * @property {LinkPreview} [preview] A client's change with it is refused.
 */

/**
 * The page behind a link, as it describes itself. All texts are without control characters.
 * @typedef {object} LinkPreview
 * @property {string} [url] As it is in the text.
 * @property {string} [title] At most 300 bytes.
 * @property {string} [description] At most 500 bytes.
 * @property {string} [site_name] At most 100 bytes.
 * @property {string} [picture] A WebP of at most 8 KiB, whose longer edge has at most 240 pixels; empty for none.
 * @property {number} [picture_width]
 * @property {number} [picture_height]
 */

/**
 * Links that the actor sends in a chat from then on, in messages and edits, get no preview, and the server does not
 * fetch their pages.
 * @typedef {object} WithoutPreviews
 * @property {boolean} [set]
 */

/**
 * A user is typing. Show it for 6 seconds or until their message arrives; clients repeat it every 4 seconds.
 * @typedef {object} Typing
 * @property {string} chat_id
 * @property {string} [user_id]
 */

/**
 * @typedef {object} Ping
 * @property {string} [payload] At most 128 bytes, returned in Pong.
 */

/**
 * Replaces the users whose presence and profile this session watches: Accepted, then a Presence of each, then one at
 * each change.
 * @typedef {object} Watch
 * @property {string[]} [user_ids] At most 200, each once.
 */

/**
 * Replaces the channels that this session follows: Accepted, then a ChannelHead for each channel that has an event
 * since the session began or, if it resumed, since ten seconds before its `last_position`, perhaps one that the client
 * has; then one whenever the channel has a new event, at most every 5 seconds. A session that follows no channel gets
 * only the events of channels that concern its user: the user is the author, or is mentioned, added, changed or
 * removed.
 * @typedef {object} Follow
 * @property {string[]} [chat_ids] At most 200, each once; the user is a member of each.
 * @property {string[]} [open_chat_ids] Those of `chat_ids` that the user looks at, at most 20: the session gets all
 * their events, in place of ChannelHead. Events from before Accepted are read from the archive, up to a
 * `complete_up_to` of the time of Accepted or later.
 */

/**
 * @typedef {object} ServerFrame
 * @property {string} sequence The number of this frame in its session, from 1, increasing by 1. A missing number means
 * that events were dropped; the server never drops an answer. A Gap follows.
 * @property {Welcome} [welcome]
 * @property {Expiring} [expiring]
 * @property {Accepted} [accepted]
 * @property {Refused} [refused]
 * @property {Event} [event]
 * @property {Gap} [gap]
 * @property {Reconnect} [reconnect]
 * @property {Moved} [moved]
 * @property {Pong} [pong]
 * @property {Goodbye} [goodbye]
 * @property {ChannelHead} [channel_head]
 */

/**
 * @typedef {object} Welcome
 * @property {string} [session_id]
 * @property {string} [user_id]
 * @property {Limits} [limits]
 * @property {number} [heartbeat_interval_ms] The interval, in milliseconds, after which the server pings a silent
 * client over WebSocket; without a response it ends the session. Over gRPC it pings after 30 seconds. A client that
 * sends Ping at this interval detects a dead server in the same way.
 * @property {number} [replayed] The number of events that are replayed before live ones.
 * @property {Position} [position] The position to resume from if no event arrives: the user's position at the start of
 * the session. If a Gap with a position follows, it is the client's own last position, so that a client that is
 * disconnected before the Gap receives the Gap again.
 * @property {string} [token_expires_at_ms] When the access token expires, in milliseconds since 1970.
 * @property {string} [at_ms] The server's time, in milliseconds since 1970. A session without last_position replays
 * only the newest seconds: history that a client read before is complete once it has read the changes with a
 * `complete_up_to` of this time or later.
 */

/**
 * @typedef {object} Limits
 * @property {number} [max_frame_bytes]
 * @property {number} [max_text_bytes]
 * @property {number} [frames_per_second]
 * @property {number} [max_unanswered_sends]
 * @property {string} [max_file_bytes]
 * @property {number} [edit_seconds] Seconds for which a message can be edited; 0: no limit.
 */

/**
 * The access token expires soon: send Renew with a new one, or the session ends when the token expires.
 * @typedef {object} Expiring
 * @property {string} [token_expires_at_ms]
 */

/**
 * A frame was accepted: a message or a change is stored durably. A retry with the same client id gets the same event
 * id, within 3 days of the first.
 * @typedef {object} Accepted
 * @property {string} [client_id] The client_message_id of a Send, the client_change_id of a Change; otherwise empty.
 * @property {string} [event_id] The id of the message or of the change; 0 for other frames.
 * @property {string} [chat_id] The chat of a message or of a change.
 * @property {string} frame The number of the accepted frame in its session.
 * @property {string} [at_ms] Of a Follow: the server's time, in milliseconds since 1970.
 */

/**
 * A frame was refused; the session continues.
 * @typedef {object} Refused
 * @property {string} frame The number of the refused frame in its session; the client's first frame is 1.
 * @property {string} [client_id] The client_message_id of a Send, the client_change_id of a Change; otherwise empty.
 * @property {string} code One of the codes in docs/client-guide.md, which never change.
 * @property {string} message A sentence for people, which may change.
 * @property {string} [field] The invalid field, such as `send.text.body`; empty if the refusal does not concern one
 * field.
 * @property {boolean} [retryable]
 * @property {number} [retry_after_ms] Milliseconds to wait before a retry; 0 if the retry may be immediate, or if
 * retryable is false.
 */

/**
 * @typedef {object} Event
 * @property {string} [event_id] A snowflake: orders the events of a chat and carries the time.
 * @property {Position} [position]
 * @property {Message} [message]
 * @property {Typing} [typing]
 * @property {Change} [change]
 * @property {Presence} [presence]
 * @property {ProfileChanged} [profile_changed]
 * @property {PeopleChanged} [people_changed]
 * @property {GroupMarks} [group_marks]
 */

/**
 * @typedef {object} Message
 * @property {string} message_id A snowflake: (message_id >> 22) + 1767225600000 is the time of acceptance, in
 * milliseconds since 1970.
 * @property {string} chat_id
 * @property {string} sender_id
 * @property {string} [client_message_id]
 * @property {Text} [text]
 * @property {Control} [control] Of a group. Such a message is not edited, deleted, or answered by a reply.
 * @property {string} [reply_to]
 * @property {boolean} [forwarded]
 * @property {FileInfo[]} [files] Beside a text, which may be empty then. Edits leave them as they are.
 */

/**
 * A control change of a group: its settings or its members changed. It is the content of a message, so that history
 * shows it where it happened; the sender of that message made the change. Clients request control changes of the HTTP
 * API, and never send one.
 * @typedef {object} Control
 * @property {string} version The version of the chat after this change: the creation has 1, each further control change
 * adds 1.
 * @property {GroupSettings} [settings] The settings after this change; absent if they did not change.
 * @property {string[]} [changed] The fields of GroupSettings that changed, by name. Empty in the creation.
 * @property {Member[]} [members] The members who changed, as they are after this change: 1,000 at most. In the
 * creation, all members.
 * @property {Invite[]} [invites] The invite links that changed, as they are after this change.
 * @property {number} [member_count] The number of members after this change; 0 in control changes of releases without
 * channels.
 */

/**
 * @typedef {object} GroupSettings
 * @property {string} name 1 to 128 bytes, without line breaks, control characters and invisible characters. U+200C,
 * U+200D, and the tag characters of a flag such as that of Scotland are allowed.
 * @property {string} [topic] At most 1,024 bytes, without the same characters; empty for none.
 * @property {string} [permissions] The permissions of members, as a mask of the values of Permission. Those of guests,
 * admins and the owner follow from it and from their role.
 * @property {boolean} [shows_history] Whether a member may read messages from before they joined.
 * @property {boolean} [is_public] Whether every user may find the group and join it.
 * @property {boolean} [asks_to_join] Whether a user who joins by an invite link, or a public group, becomes a member
 * only when a member with PERMISSION_ADD_MEMBERS adds them. 200 users at once may wait for it.
 * @property {boolean} [is_channel] Whether the group is a channel: it may have 100,000 members in place of 1,000, and
 * its events reach the sessions that follow it, see Follow in session.proto. A channel stays one.
 * @property {string} [avatar] The token of the group's picture, at most 64 bytes, with which it is at `/avatars/TOKEN`;
 * empty for none.
 * @property {boolean} [without_previews] Whether links in messages of the group get no previews.
 */

/**
 * A user in a group, now or formerly.
 * @typedef {object} Member
 * @property {string} user_id
 * @property {Role} [role] ROLE_UNSPECIFIED if the user is not a member any more.
 * @property {string} [allow] Permissions that only this member has or lacks, as masks of the values of Permission. What
 * is denied is not allowed.
 * @property {string} [deny]
 * @property {Span[]} [spans] When the user was a member, oldest first; the newest 20.
 * @property {string} [version] The version of the chat in which this member changed last.
 * @property {Role} [former_role] In a Control, the role before it.
 * @property {string} [asked_at_ms] When the user, who is not a member, asked to join, in milliseconds since 1970; 0 if
 * they did not, or were declined. In a Control by which another user asks to join, the request of a deleted account
 * made room for that user: clients show nothing of its end.
 * @property {string} [invite_id] In a Control by which a user joined or asked to join by an invite link: its id. It
 * stays while the user waits.
 * @property {boolean} [was_removed] Whether another member removed the user, who can only ask to join then, until a
 * member adds them.
 * @property {boolean} [was_guest] Whether this former member was a guest at the end of the membership, and so joins as
 * a guest again. A member that adds the user can assign any role.
 */

/**
 * @typedef {"ROLE_UNSPECIFIED" | "ROLE_GUEST" | "ROLE_MEMBER" | "ROLE_ADMIN" | "ROLE_OWNER"} Role
 */

/**
 * A time as a member, in ids of events: the user may read an event if and only if its id is in one of their spans.
 * @typedef {object} Span
 * @property {string} [first] The id of the control change by which the user joined.
 * @property {string} [last] The id of the control change by which the user left or was removed, which the user may
 * read; 0 while a member.
 */

/**
 * A link by which users join a group, as long as its creator has PERMISSION_ADD_MEMBERS and is no guest. Its token is
 * `<chat number>.<secret>`, as docs/client-guide.md describes; the chat has only a hash of the secret.
 * @typedef {object} Invite
 * @property {string} [invite_id] The id of the control change that created it.
 * @property {string} [secret_hash] SHA-256 of the secret.
 * @property {string} [creator_id]
 * @property {string} [expires_at_ms] When it ends, in milliseconds since 1970; 0 for never.
 * @property {number} [max_uses] How many users may join by it: 10,000 at most; 0 for any number.
 * @property {number} [uses] The users who joined by it, and the users who have asked to and wait: a request that is
 * declined or taken back does not count any more.
 * @property {boolean} [is_revoked]
 * @property {string} [version] The version of the chat in which this invite changed last.
 */

/**
 * A complete file, which never changes. A message has a copy of this of each of its files.
 * @typedef {object} FileInfo
 * @property {string} file_id A snowflake, as message ids: carries the time of the reservation.
 * @property {string} name As its sender named it: 1 to 255 bytes, without slashes, backslashes and control characters.
 * @property {string} media_type As the server found it in the content, such as `image/png`; `application/octet-stream`
 * if it did not.
 * @property {string} size Bytes.
 * @property {number} [width] Of a picture that the server could decode, as it is shown; 0 for other files.
 * @property {number} [height]
 * @property {string} [thumbhash] Of a picture: a placeholder of at most 32 bytes, as the library thumbhash makes it.
 * @property {number[]} [thumbnails] Of a picture, or of the first page of a PDF: the longer edges of its thumbnails, in
 * pixels, ascending.
 * @property {number} [duration_ms] Of a voice message: how long it is, in milliseconds, as its sender stated; 0 for
 * other files.
 * @property {string} [waveform] Of a voice message: its loudness over time, as its sender stated: at most 64 values
 * from 0 to 255.
 */

/**
 * Whether a watched user is online. It has no event id and no position, and is not replayed. A user who hides their
 * presence is never online, and has no last_seen_ms.
 * @typedef {object} Presence
 * @property {string} [user_id]
 * @property {boolean} [is_online]
 * @property {string} [last_seen_ms] When the last session of the user ended, in milliseconds since 1970; 0 while
 * online, or if it is not known.
 */

/**
 * A watched user, or the recipient themselves, changed their profile, its picture included, or the account of a watched
 * user was deleted: read it again. As Presence, it is not replayed.
 * @typedef {object} ProfileChanged
 * @property {string} [user_id]
 */

/**
 * A connection or block of the recipient with this user changed: read the list again. As Presence, it is not replayed.
 * @typedef {object} PeopleChanged
 * @property {string} [user_id]
 */

/**
 * New marks of members of a group of at most 100, in one event for about 2 seconds. As Presence, it has no event id and
 * no position, is not replayed, and may be lost: the marks that the archive lists have them too. Users who hide their
 * read marks are not in it, and do not receive it.
 * @typedef {object} GroupMarks
 * @property {string} chat_id
 * @property {MemberMark[]} [marks] At most one of each member.
 */

/**
 * The marks of a member: fold them as the `Marked` of that user.
 * @typedef {object} MemberMark
 * @property {string} [user_id]
 * @property {string} [delivered_up_to] 0 in groups of more than 32 members.
 * @property {string} [read_up_to]
 */

/**
 * Events are missing from this session: read the chats that have changed and the changes of each, as docs/client-
 * guide.md describes.
 * @typedef {object} Gap
 * @property {Position} [since] The last position before the missing events.
 * @property {string} [since_ms] About the time of that position, or an earlier one, in milliseconds since 1970. 0 if it
 * is not known: the events are missing since the newest event that the client received before.
 * @property {string} [dropped] The number of dropped events, if the server counted them.
 * @property {Position} [position] The position to resume from if no event follows. Absent if events follow, which have
 * their own positions.
 * @property {string} [at_ms] The server's time, in milliseconds since 1970: nothing is missing any more once a client
 * has read the changes with a `complete_up_to` of this time or later.
 */

/**
 * The gateway is stopping, or does not own this user now: request the gateway's address from the BFF and connect again.
 * @typedef {object} Reconnect
 * @property {number} [after_ms] Milliseconds to wait first.
 */

/**
 * Another gateway owns this user: connect to it.
 * @typedef {object} Moved
 * @property {string} [websocket] For browsers, such as wss://host:8081/session; empty if unknown.
 * @property {string} [grpc] For native apps, such as grpcs://host:8082, or host:8082 without TLS; empty if unknown.
 */

/**
 * @typedef {object} Pong
 * @property {string} [payload]
 */

/**
 * The last frame before the server closes.
 * @typedef {object} Goodbye
 * @property {string} [code]
 * @property {string} [message]
 * @property {string} [field] The invalid field, such as `authenticate.client_name`; empty if the reason does not
 * concern one field.
 * @property {boolean} [is_final] Whether each later connection of this client would end in the same way, so that it
 * must not connect again.
 * @property {number} [retry_after_ms] Milliseconds to wait at least before the next connection; 0 if the client
 * chooses, or if is_final.
 */

/**
 * A channel that the session follows, and has not open, has new events: read it again, or its changes once the user
 * opens it. It is not replayed.
 * @typedef {object} ChannelHead
 * @property {string} [chat_id]
 * @property {string} [newest_id] The id of the newest event that the user may read.
 */

/**
 * @typedef {object} Chat
 * @property {string} chat_id
 * @property {ChatKind} [kind]
 * @property {string[]} [member_ids] Of a direct chat. ListMembers returns those of a group.
 * @property {HistoryMessage} [newest] Absent in a chat without messages.
 * @property {number} [unread] Messages of others above the user's read mark that are not deleted, counted to 100 at
 * most, among the newest 2,000. Of control changes, only the one by which another user has added the user counts.
 * @property {Mark[]} [marks] The marks of each member that has set one, one per member. In a group, only the user's
 * own: see ListMarks.
 * @property {string} [changed_at_ms] The time of the last change, in milliseconds since 1970.
 * @property {Event[]} [changes] The state of the chat itself, without marks: the newest change of each key.
 * @property {string} [version] Of a group: the version of its newest control change, as far as the user may read it,
 * and the settings and the number of members after it; former members get 0 members.
 * @property {GroupSettings} [settings]
 * @property {number} [member_count]
 * @property {Member} [own] The user as a member of a group, present or former. A former member may read the chat up to
 * the end of their last span.
 * @property {number} [unread_mentions] Messages of others above the user's read mark that mention the user or all
 * members, by their newest text, and are not deleted: counted to 100 at most, among the newest 200 that ever mentioned
 * the user, and as many for all members.
 * @property {string} [newest_sent_id] The newest message that is no control change, so that clients know whether one
 * came after an `archived`. Absent if there is none, and for a former member. In a group that a former release has
 * recorded, it may be absent until the next message.
 */

/**
 * @typedef {"CHAT_KIND_UNSPECIFIED" | "CHAT_KIND_DIRECT" | "CHAT_KIND_GROUP"} ChatKind
 */

/**
 * A message of history and its state.
 * @typedef {object} HistoryMessage
 * @property {Message} message As it was sent. A deleted message has no content and no reply_to.
 * @property {Event[]} [changes] The state of the message, in order of event ids: the newest change of each key, removed
 * reactions included.
 */

/**
 * @typedef {object} Mark
 * @property {string} [user_id]
 * @property {string} [delivered_up_to]
 * @property {string} [read_up_to]
 */

/**
 * @typedef {object} ListChatsResponse
 * @property {Chat[]} [chats]
 * @property {string} [next_cursor] The cursor of the next page; empty if this is the last page.
 * @property {string} [complete_up_to] Every chat that changed by an event up to this id is in the list. A client that
 * has read all pages continues from the time of the first page's id. 0 if it is not known now.
 */

/**
 * @typedef {object} ListMessagesResponse
 * @property {HistoryMessage[]} [messages] Oldest first. A page with more than 1 MiB or 10,000 changes ends early, and
 * has at least one message.
 * @property {boolean} [has_older]
 * @property {boolean} [has_newer]
 * @property {string} [complete_up_to] Of the messages that are listed, every change up to this event id is part of
 * their state: the first `after` of ListChanges. 0 if it is not known now.
 */

/**
 * @typedef {object} ListChangesResponse
 * @property {Event[]} [events] Messages as they were sent, and changes; some may be known to the client. In order of
 * event ids. A deleted message has no content, and changes that its deletion removed are not listed. Marks are in
 * Chat.marks.
 * @property {boolean} [too_old] The events after `after` are more than 1,000 or 1 MiB, or the oldest of them may be
 * older than 30 days: none is listed. The client drops the messages of the chat and reads a page.
 * @property {string} [complete_up_to] Every event up to this id is listed or was listed before: the next `after` if it
 * is higher than this one. It is 10 to 25 seconds old, and older while archives are behind; 0 if it is not known now,
 * or with too_old.
 */

/**
 * @typedef {object} ListMembersResponse
 * @property {Member[]} [members] Present members. Former members of the group get an empty list.
 * @property {boolean} [has_more]
 * @property {string} [version] The version of the chat that the members are of.
 */

/**
 * @typedef {object} ListMarksResponse
 * @property {Mark[]} [marks] Of present members, the 1,000 with the highest read marks, those first. None of a channel,
 * where marks are private.
 */

/**
 * @typedef {object} ListChatFilesResponse
 * @property {HistoryMessage[]} [messages] The messages that have one, the newest first.
 * @property {boolean} [has_older]
 */

export {};
