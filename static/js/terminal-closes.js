// Why the line to a terminal broke or ended, by its socket's close code: what happened, and what to do about it when
// the page does not do it by itself. Pure.

import { gettext } from "./i18n.js";
import { CODES } from "./socket.js";

const BROKE = new Map([
  [CODES.slow, () => gettext("It was too much at once")],
  [CODES.engine, () => gettext("The engine does not answer")],
  [1011, () => gettext("The server failed at this")],
  [1012, () => gettext("The server restarts")],
]);

const ENDED = new Map([
  [CODES.login, () => gettext("You were signed out. Sign in, and this terminal is here again.")],
  [CODES.forbidden, () => gettext("You may not be in this terminal any more. Who administers webdock can give you the right to it.")],
  [CODES.gone, () => gettext("This terminal is gone. A new shell takes its place.")],
  [CODES.state, () => gettext("The container does not run. Start it for a new shell.")],
]);

// Of a line that comes back, before ": reconnecting".
export const whyBroke = (code) => (BROKE.get(code) ?? (() => gettext("Connection lost")))();

// Of a line that does not come back.
export const whyEnded = (code) => (ENDED.get(code) ?? (() => gettext("The session is over.")))();
