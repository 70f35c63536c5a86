// The dialogs of groups, in one module that is loaded when the first of them is opened.

export { GroupPanel } from "./group-panel.js";
export { InvitedGroup, PublicGroups } from "./open-group.js";
export { NewGroup } from "./new-group.js";
export { SeenBy } from "./seen-by.js";
