BEGIN TRANSACTION;
CREATE TABLE chats (
        chat INTEGER PRIMARY KEY, -- in place of chat_id in the other tables, at an eighth of its size
        chat_id TEXT NOT NULL UNIQUE,
        changed_ms INTEGER NOT NULL,
        listed INTEGER NOT NULL DEFAULT 0 -- whether it is in its members' lists
    , version INTEGER NOT NULL DEFAULT 0, member_count INTEGER NOT NULL DEFAULT 0);
INSERT INTO "chats" VALUES(1,'g-7',1795900000006,1,6,2);
CREATE TABLE chats_by_user (
        user_id INTEGER NOT NULL,
        chat INTEGER NOT NULL, changed_ms INTEGER NOT NULL DEFAULT 0, until_ms INTEGER,
        PRIMARY KEY (user_id, chat)
    ) WITHOUT ROWID;
INSERT INTO "chats_by_user" VALUES(101,1,0,NULL);
INSERT INTO "chats_by_user" VALUES(202,1,1795900000007,NULL);
INSERT INTO "chats_by_user" VALUES(505,1,0,1795900000006);
CREATE TABLE controls ( -- of groups: the first recorded control change of each version
        chat INTEGER NOT NULL,
        version INTEGER NOT NULL,
        event_id INTEGER NOT NULL,
        settings BLOB, -- NULL if they did not change
        PRIMARY KEY (chat, version)
    ) WITHOUT ROWID;
INSERT INTO "controls" VALUES(1,1,120269150621794304,X'0A0443726577181F28013001');
INSERT INTO "controls" VALUES(1,2,120269150625988608,NULL);
INSERT INTO "controls" VALUES(1,3,120269150630182912,NULL);
INSERT INTO "controls" VALUES(1,4,120269150634377216,NULL);
INSERT INTO "controls" VALUES(1,5,120269150638571520,NULL);
INSERT INTO "controls" VALUES(1,6,120269150642765824,NULL);
CREATE TABLE "events" (
        event_id INTEGER PRIMARY KEY, -- rising, so that new messages of all chats share the last pages
        chat INTEGER NOT NULL,
        author_id INTEGER NOT NULL,
        client_id TEXT NOT NULL,
        content BLOB NOT NULL
    , target_id INTEGER, kind INTEGER);
INSERT INTO "events" VALUES(120269150621794304,1,101,'c1',X'0880808082FC84D2D5011203672D37186522026331424E0801120C0A0443726577181F280130012212086510042A0A0880808082FC84D2D5013001221308CA0110022A0A0880808082FC84D2D5013001221308F90310022A0A0880808082FC84D2D5013001',NULL,NULL);
INSERT INTO "events" VALUES(120269150625988608,1,202,'c2',X'0880808084FC84D2D5011203672D3718CA0122026332420E08022A0A080912016818CA014002',NULL,NULL);
INSERT INTO "events" VALUES(120269150630182912,1,303,'c3',X'0880808086FC84D2D5011203672D3718AF022202633342100803220C08AF02300340838EED9FA234',NULL,NULL);
INSERT INTO "events" VALUES(120269150634377216,1,404,'c4',X'0880808088FC84D2D5011203672D371894032202633442100804220C089403300440848EED9FA234',NULL,NULL);
INSERT INTO "events" VALUES(120269150638571520,1,101,'c5',X'088080808AFC84D2D5011203672D371865220263354209080522050894033005',NULL,NULL);
INSERT INTO "events" VALUES(120269150642765824,1,505,'c6',X'088080808CFC84D2D5011203672D3718F9032202633642210806221D08F9032A140880808082FC84D2D501108080808CFC84D2D50130063802',NULL,NULL);
CREATE TABLE invites ( -- the invite links of groups
        chat INTEGER NOT NULL,
        invite_id INTEGER NOT NULL,
        version INTEGER NOT NULL, -- of the control change that changed the link last
        invite BLOB NOT NULL,
        PRIMARY KEY (chat, invite_id)
    ) WITHOUT ROWID;
INSERT INTO "invites" VALUES(1,9,2,X'080912016818CA014002');
CREATE TABLE late ( -- the late events, by the time at which the log stored them
        chat INTEGER NOT NULL,
        at_ms INTEGER NOT NULL,
        event_id INTEGER NOT NULL,
        PRIMARY KEY (chat, at_ms, event_id)
    ) WITHOUT ROWID;
CREATE TABLE "marks" (
        chat INTEGER NOT NULL,
        user_id INTEGER NOT NULL,
        delivered_up_to INTEGER NOT NULL,
        read_up_to INTEGER NOT NULL,
        PRIMARY KEY (chat, user_id)
    ) WITHOUT ROWID;
INSERT INTO "marks" VALUES(1,202,120269150642765824,120269150638571520);
CREATE TABLE members ( -- present and former members of groups
        chat INTEGER NOT NULL,
        user_id INTEGER NOT NULL,
        version INTEGER NOT NULL, -- of the control change that changed the member last
        role INTEGER NOT NULL, -- 0 of a former member
        member BLOB NOT NULL,
        PRIMARY KEY (chat, user_id)
    ) WITHOUT ROWID
;
INSERT INTO "members" VALUES(1,101,1,4,X'086510042A0A0880808082FC84D2D5013001');
INSERT INTO "members" VALUES(1,202,1,2,X'08CA0110022A0A0880808082FC84D2D5013001');
INSERT INTO "members" VALUES(1,303,3,0,X'08AF02300340838EED9FA234');
INSERT INTO "members" VALUES(1,404,5,0,X'0894033005');
INSERT INTO "members" VALUES(1,505,6,0,X'08F9032A140880808082FC84D2D501108080808CFC84D2D5013006');
CREATE TABLE mentions ( -- the messages that have ever mentioned a user, in their text or in an edit
        user_id INTEGER NOT NULL, -- 0 for all members
        chat INTEGER NOT NULL,
        message_id INTEGER NOT NULL,
        event_id INTEGER NOT NULL, -- of the message or of the newest edit that does: it counts if no edit is newer
        PRIMARY KEY (user_id, chat, message_id)
    ) WITHOUT ROWID
;
CREATE TABLE public_chats ( -- the public groups that have members
        chat INTEGER PRIMARY KEY,
        chat_id TEXT NOT NULL,
        name TEXT NOT NULL, -- case-folded
        searched TEXT NOT NULL -- see shared.accounts.names
    );
INSERT INTO "public_chats" VALUES(1,'g-7','crew','  crew');
CREATE TABLE recorded (partition INTEGER PRIMARY KEY, offset INTEGER NOT NULL);
INSERT INTO "recorded" VALUES(0,1);
CREATE TABLE state ( -- the changes that are current, by their keys
        target_id INTEGER NOT NULL, -- rising, so that the changes of recent messages of all chats share the last pages
        chat INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        key TEXT NOT NULL,
        event_id INTEGER NOT NULL,
        event BLOB NOT NULL, is_listed INTEGER,
        PRIMARY KEY (target_id, chat, kind, key)
    ) WITHOUT ROWID;
CREATE TABLE watermarks (partition INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL);
CREATE INDEX messages_by_chat ON events (chat) WHERE target_id IS NULL;
CREATE INDEX changes_by_chat ON events (chat) WHERE target_id IS NOT NULL;
CREATE UNIQUE INDEX events_by_send ON events (chat, author_id, client_id) WHERE client_id <> '';
CREATE INDEX listed_by_chat ON state (chat, kind, key, target_id) WHERE is_listed IS NOT NULL;
CREATE INDEX changes_by_target ON events (target_id, kind) WHERE target_id IS NOT NULL;
CREATE INDEX settings_by_chat ON controls (chat, version) WHERE settings IS NOT NULL;
CREATE INDEX public_chats_by_name ON public_chats (name, chat_id)
;
COMMIT;
PRAGMA user_version = 10;
