// Compares what this browser asked for with what arrived at the server, and says which setting is wrong.

import { post } from "./actions.js";
import { place } from "./dom.js";
import { gettext, interpolate } from "./i18n.js";

const OPEN_WAIT_MS = 10_000;
const IDLE_S = 65; // longer than the read time-out proxies come with

const root = document.querySelector("[data-selftest]");
const seen = root.dataset;

function say(check, tone, details) {
  const row = root.querySelector(`[data-check="${check}"]`);
  const pill = row.querySelector(".pill");
  pill.dataset.tone = tone;
  pill.textContent = { ok: gettext("good"), bad: gettext("wrong"), warn: gettext("look here"), accent: gettext("waiting") }[tone];
  row.lastElementChild.textContent = details;
}

function headers() {
  const host = location.host;
  if (seen.host === host) say("host", "ok", host);
  else say("host", "bad", interpolate(gettext("The browser asked for %(asked)s, webdock was told %(told)s: the proxy must pass the Host header on as it came."), { asked: host, told: seen.host }));

  const scheme = location.protocol.slice(0, -1);
  if (seen.scheme === scheme) say("scheme", "ok", scheme);
  else if (seen.proto && seen.believes === "no") say("scheme", "bad", gettext("The proxy says X-Forwarded-Proto, but webdock was not told to believe it: set WEBDOCK_BEHIND_PROXY=yes."));
  else say("scheme", "bad", interpolate(gettext("The browser uses %(asked)s, webdock was told %(told)s: the proxy must set X-Forwarded-Proto."), { asked: scheme, told: seen.scheme }));

  if (seen.path === location.pathname) say("path", "ok", seen.path);
  else say("path", "bad", interpolate(gettext("The browser asked for %(asked)s, webdock calls it %(told)s: the path in WEBDOCK_PUBLIC_URL and the proxy's differ."), { asked: location.pathname, told: seen.path }));

  if (seen.forwarded && seen.believes === "no") say("address", "warn", interpolate(gettext("webdock takes %s, the proxy's own address, for yours: set WEBDOCK_BEHIND_PROXY=yes."), [seen.address]));
  else if (!seen.forwarded && seen.believes === "yes") say("address", "bad", gettext("X-Forwarded-For is missing: the audit log would name the proxy instead of the person."));
  else say("address", "ok", seen.address);
}

async function form() {
  const answer = await post(seen.post);
  if (answer.ok) say("post", "ok", "");
  else say("post", "bad", interpolate(gettext("A form was refused: %s Put the address people use into WEBDOCK_PUBLIC_URL or WEBDOCK_TRUSTED_ORIGINS."), [answer.message ?? ""]));
}

function socket() {
  say("socket", "accent", "");
  say("idle", "accent", interpolate(gettext("takes %s seconds"), [IDLE_S]));
  const url = new URL(place("ws/selftest/"), location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  const line = new WebSocket(url);
  let since = 0;
  let done = false;
  const never = () => {
    done = true;
    say("socket", "bad", gettext("The connection was not upgraded: the proxy must speak HTTP/1.1 to webdock and pass Upgrade and Connection on."));
    say("idle", "bad", gettext("There was no connection to keep."));
    line.close();
  };
  const patience = setTimeout(never, OPEN_WAIT_MS);
  line.onmessage = () => {
    clearTimeout(patience);
    since = performance.now();
    say("socket", "ok", "");
    setTimeout(() => {
      if (done) return;
      done = true;
      say("idle", "ok", interpolate(gettext("open for %s seconds"), [IDLE_S]));
      line.close();
    }, IDLE_S * 1000);
  };
  line.onclose = ({ code, reason }) => {
    if (done) return;
    clearTimeout(patience);
    if (!since && code === 1006) return never();
    done = true;
    if (!since) {
      say("socket", "bad", interpolate(gettext("The server refused it with %(code)s %(reason)s: look at host name and TLS above."), { code, reason }));
      return say("idle", "bad", gettext("There was no connection to keep."));
    }
    const seconds = Math.round((performance.now() - since) / 1000);
    say("idle", "bad", interpolate(gettext("Closed after %(seconds)s seconds: the proxy's read time-out must be longer than %(ping)s seconds."), { seconds, ping: seen.ping }));
  };
}

headers();
form();
socket();
