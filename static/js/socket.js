// One websocket that comes back: back-off with jitter, close codes turned into what to do, one banner for all.

import { meta, place } from "./dom.js";
import { gettext, interpolate } from "./i18n.js";

const FIRST_DELAY_MS = 400;
const LONGEST_DELAY_MS = 15_000;
const SETTLED_MS = 1_500; // open this long, or a message came: the loss is over (a socket may open to be refused)
const STEADY_MS = 5_000; // open this long: the next loss starts counting anew
const BANNER_AFTER_MS = 1_200; // shorter losses stay unmentioned
const HEALED_MS = 2_000;
const BEAT_MS = 1_000;
const QUIET_BEATS = 5; // without a word from the server: it is asked whether it is there
const CONNECT_BEATS = 15; // a door that does not open
const ASLEEP_MS = 10_000; // between two beats: this machine slept
const WAKE_ANSWER_MS = 500; // after that, a server that is there has answered
const DEAD_BEATS = 9; // and no answer: a cut cable, a laptop that slept, a proxy that forgot

const PONG = '{"type":"pong"}';

export const CODES = { login: 4401, forbidden: 4403, gone: 4404, state: 4409, slow: 4429, engine: 4503 };

// How long to wait before the next try; random is 0…1.
export function delayAfter(attempt, random = Math.random(), longest = LONGEST_DELAY_MS) {
  const ceiling = Math.min(longest, FIRST_DELAY_MS * 2 ** attempt);
  return Math.round(ceiling / 2 + (random * ceiling) / 2);
}

// "login", "stop", "at once" (the first time) or "again".
export function verdict(code) {
  if (code === CODES.login) return "login";
  if (code === 1000 || code === CODES.forbidden || code === CODES.gone || code === CODES.state) return "stop";
  return code === CODES.slow ? "at once" : "again";
}

export class Link {
  // handlers: open(), text(message), bytes(Uint8Array), state("connecting"|"open"|"waiting"|"stopped"|"login", detail)
  // longest: between two tries while somebody looks at the page
  constructor(path, handlers, { banner = true, longest = LONGEST_DELAY_MS } = {}) {
    this.aim(path);
    this.handlers = handlers;
    this.banner = banner;
    this.longest = longest;
    this.attempt = 0;
    this.stopped = false;
    links.add(this);
    this.connect();
  }

  // Where the next try goes.
  aim(path) {
    this.url = new URL(path.startsWith("/") ? path : place(path), location.href);
    this.url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  }

  get isOpen() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  connect() {
    clearTimeout(this.timer);
    this.timer = this.retryAt = undefined;
    this.tell("connecting");
    const socket = new WebSocket(this.url);
    this.quiet = 0;
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    let steady;
    let settled;
    socket.onopen = () => {
      this.quiet = 0;
      steady = setTimeout(() => (this.attempt = 0), STEADY_MS);
      settled = setTimeout(() => this.heal(), SETTLED_MS);
      this.tell("open");
      this.handlers.open?.();
    };
    socket.onmessage = ({ data }) => {
      this.quiet = 0;
      this.heal();
      if (data === PONG) return;
      if (typeof data === "string") this.handlers.text?.(JSON.parse(data));
      else this.handlers.bytes?.(new Uint8Array(data));
    };
    socket.onclose = ({ code, reason }) => {
      clearTimeout(steady);
      clearTimeout(settled);
      if (this.socket !== socket || this.stopped) return;
      this.lost(code, reason);
    };
  }

  // Beats are counted, not milliseconds: a page that was busy, or asleep, hears first what came meanwhile.
  beat() {
    if (!this.socket || this.socket.readyState > WebSocket.OPEN) return;
    this.quiet += 1;
    if (this.quiet === QUIET_BEATS) this.send({ type: "ping" });
    if (this.quiet < (this.isOpen ? DEAD_BEATS : CONNECT_BEATS)) return;
    this.abandon();
  }

  // The network may have gone meanwhile: ask at once, and do not wait long for the answer.
  ask() {
    if (!this.isOpen) return;
    const { socket } = this;
    this.quiet = QUIET_BEATS;
    this.send({ type: "ping" });
    setTimeout(() => {
      if (this.socket !== socket || this.stopped || this.quiet < QUIET_BEATS) return;
      this.abandon();
      this.now();
    }, WAKE_ANSWER_MS);
  }

  abandon() {
    const socket = this.socket;
    this.socket = undefined; // its end, when that comes, is no news
    socket.close();
    this.lost(1006, "");
  }

  heal() {
    if (!this.lostAt) return;
    this.lostAt = undefined;
    showBanner();
  }

  lost(code, reason) {
    const what = verdict(code);
    this.lostAt ??= Date.now();
    this.reason = code === CODES.engine ? reason || gettext("The engine does not answer.") : "";
    if (what === "login") {
      this.stop();
      this.tell("login", { code, reason });
      location.assign(`${meta("webdock-login")}?next=${encodeURIComponent(location.pathname + location.search)}`);
    } else if (what === "stop") {
      this.stop();
      this.tell("stopped", { code, reason });
    } else {
      const delay = what === "at once" && this.attempt === 0 ? FIRST_DELAY_MS : delayAfter(this.attempt, Math.random(), document.hidden ? LONGEST_DELAY_MS : this.longest);
      this.attempt += 1;
      this.retryAt = Date.now() + delay;
      this.timer = setTimeout(() => this.connect(), delay);
      this.tell("waiting", { code, reason, delay });
    }
  }

  tell(state, detail = {}) {
    this.state = state;
    this.handlers.state?.(state, detail);
    showBanner();
  }

  now() {
    if (!this.stopped && this.retryAt) this.connect();
  }

  send(message) {
    if (!this.isOpen) return false;
    this.socket.send(message instanceof Uint8Array ? message : JSON.stringify(message));
    return true;
  }

  stop() {
    this.stopped = true;
    clearTimeout(this.timer);
    links.delete(this);
    this.socket?.close();
    showBanner();
  }
}

// -- the banner ---------------------------------------------------------------

const links = new Set();
let beaten = Date.now();
setInterval(() => {
  const slept = Date.now() - beaten > ASLEEP_MS;
  beaten = Date.now();
  for (const link of links) slept && link.isOpen ? link.ask() : link.beat();
}, BEAT_MS);
const banner = document.getElementById("connection");
let shown = false;
let ticking;
let hiding;

function showBanner() {
  if (!banner) return;
  const down = [...links].filter((link) => link.banner && link.lostAt);
  clearTimeout(ticking);
  if (down.length) {
    const since = Math.min(...down.map((link) => link.lostAt));
    const wait = since + BANNER_AFTER_MS - Date.now();
    if (shown || wait <= 0) writeBanner(down);
    ticking = setTimeout(showBanner, shown ? 500 : Math.max(wait, 20));
  } else if (shown) {
    shown = false;
    banner.dataset.state = "healed";
    banner.querySelector("[data-text]").textContent = gettext("Connected again");
    banner.querySelector("[data-retry]").hidden = true;
    hiding = setTimeout(() => (banner.hidden = true), HEALED_MS); // whatever other sockets tell meanwhile
  }
}

function writeBanner(down) {
  clearTimeout(hiding);
  shown = true;
  const next = Math.min(...down.map((link) => link.retryAt ?? Infinity));
  const seconds = Math.max(0, Math.ceil((next - Date.now()) / 1000));
  const why = down.map((link) => link.reason).find(Boolean) || gettext("Connection lost.");
  banner.dataset.state = "lost";
  const text = `${why} ${Number.isFinite(next) && seconds ? interpolate(gettext("Trying again in %s s"), [seconds]) : gettext("Trying again…")}`;
  const place = banner.querySelector("[data-text]");
  if (place.textContent !== text) place.textContent = text;
  banner.querySelector("[data-retry]").hidden = false;
  banner.hidden = false;
}

function hurry() {
  for (const link of links) {
    link.now();
    link.ask();
  }
}

banner?.querySelector("[data-retry]").addEventListener("click", hurry);
addEventListener("online", hurry);
addEventListener("offline", () => {
  for (const link of links) link.quiet = Math.max(link.quiet, QUIET_BEATS - 1);
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) hurry();
});
