// The parts of the admin page with which an admin invites people from the chats, loaded when they are first needed.

export { useAdminLanguage } from "../admin/languages/language.js";
export { invitePeople } from "../admin/links.js";
