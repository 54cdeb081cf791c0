// "Up 3 minutes" grows older while nobody sends anything: the words of the Docker client, counted on here.
// The server's clock is the page's clock; a browser whose clock is wrong shows right ages.

import { meta, say } from "./dom.js";
import { gettext, interpolate, ngettext } from "./i18n.js";

const EVERY_MS = 1000;
let skew_ms = 0;

// The server's time, told with the page and anew by the sockets: after a sleep a clock is often set right.
export function serverSays(seconds) {
  if (seconds > 0) skew_ms = seconds * 1000 - Date.now();
}

export const serverNow = () => Date.now() + skew_ms;

serverSays(Number(meta("webdock-now")));

const UNITS = {
  second: (n) => ngettext("%s second", "%s seconds", n),
  minute: (n) => ngettext("%s minute", "%s minutes", n),
  hour: (n) => ngettext("%s hour", "%s hours", n),
  day: (n) => ngettext("%s day", "%s days", n),
  week: (n) => ngettext("%s week", "%s weeks", n),
  month: (n) => ngettext("%s month", "%s months", n),
  year: (n) => ngettext("%s year", "%s years", n),
};

export function human(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  const many = (n, unit) => interpolate(UNITS[unit](n), [n]);
  if (s < 1) return gettext("Less than a second");
  if (s < 60) return many(s, "second");
  const minutes = Math.floor(s / 60);
  if (minutes === 1) return gettext("About a minute");
  if (minutes < 60) return many(minutes, "minute");
  const hours = Math.round(s / 3600);
  if (hours === 1) return gettext("About an hour");
  if (hours < 48) return many(hours, "hour");
  const days = Math.floor(s / 86400);
  if (days < 14) return many(days, "day");
  if (days < 60) return many(Math.floor(days / 7), "week");
  if (days < 730) return many(Math.floor(days / 30), "month");
  return many(Math.floor(days / 365), "year");
}

// The same status text at a later moment; texts of another shape or language come back as they are.
export function aged(text, seconds) {
  const found = /^(Up |(?:Exited|Restarting) \(-?\d+\) )(?:Less than a second|About an? \w+|\d+ \w+)( ago)?( \(.*\))?$/.exec(text);
  return found ? found[1] + human(seconds) + (found[2] ?? "") + (found[3] ?? "") : text;
}

// What the words depend on: seconds for a minute, then minutes.
const countOf = (seconds) => (seconds < 60 ? Math.floor(seconds) : 60 + Math.floor(seconds / 60));

const counted = new WeakMap(); // element -> the count its words stand for

function write(element, since, worded) {
  const seconds = (serverNow() - since) / 1000;
  const count = countOf(seconds);
  if (Number.isNaN(seconds) || counted.get(element) === count) return;
  say(element, worded(seconds));
  counted.set(element, count);
}

function tick() {
  if (document.hidden) return;
  for (const element of document.querySelectorAll("time[data-ago]")) {
    write(element, Date.parse(element.dateTime), (seconds) => interpolate(gettext("%s ago"), [human(seconds)]));
  }
  for (const element of document.querySelectorAll("[data-age]")) {
    write(element, Date.parse(element.dataset.age), (seconds) => aged(element.textContent, seconds));
  }
}

tick();
setInterval(tick, EVERY_MS);
