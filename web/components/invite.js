// The parts of the admin page with which an admin invites people from the chats, loaded when they are first needed.

export { AdminApi } from "../admin/api.js";
export { useAdminLanguage } from "../admin/languages/language.js";
export { showLink } from "../admin/links.js";
