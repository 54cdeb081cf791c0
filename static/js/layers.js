// What each layer of an image adds, changes and removes: a tree that fetches one directory at a time.

import { clone, make } from "./dom.js";
import { size } from "./format.js";
import { gettext } from "./i18n.js";

const root = document.querySelector("[data-layers-of]");
const WORDS = { added: gettext("added"), changed: gettext("changed"), removed: gettext("removed") };
const TONES = { added: "ok", changed: "accent", removed: "bad" };
const TYPES = { directory: "d", symlink: "l", char: "c", block: "b", fifo: "p", socket: "s" };

async function fetchChanges(layer, path, after = "") {
  const query = new URLSearchParams({ path, ...(after && { after }) });
  try {
    const response = await fetch(`${root.dataset.layersOf}layers/${layer}/changes/?${query}`, { headers: { Accept: "application/json" } });
    return await response.json();
  } catch {
    return { ok: false, message: gettext("The changes could not be read.") };
  }
}

// "drwxr-xr-x", with s and t where they are set.
function modeText(type, mode) {
  const bits = ["r", "w", "x", "r", "w", "x", "r", "w", "x"].map((letter, at) => (mode & (1 << (8 - at)) ? letter : "-"));
  for (const [flag, at, on] of [[0o4000, 2, "s"], [0o2000, 5, "s"], [0o1000, 8, "t"]]) {
    if (mode & flag) bits[at] = bits[at] === "x" ? on : on.toUpperCase();
  }
  return (TYPES[type] ?? "-") + bits.join("");
}

function lineOf(layer, change) {
  const line = clone("change");
  const { Path: path, Kind: kind, Type: type, Size: bytes, Link: link, Mode: mode, UID: uid, GID: gid } = change;
  const name = path.slice(path.lastIndexOf("/") + 1) + (type === "directory" ? "/" : "");
  for (const place of line.querySelectorAll("[data-name]")) place.textContent = link ? `${name} → ${link}` : name;
  const button = line.querySelector("button");
  const opens = type === "directory" && kind !== "removed";
  (opens ? line.querySelector("[data-plain]") : button).remove();
  const pill = line.querySelector("[data-pill]");
  if (WORDS[kind]) {
    pill.textContent = WORDS[kind];
    pill.dataset.tone = TONES[kind];
  } else pill.remove();
  line.querySelector("[data-size]").textContent = type === "file" ? size(bytes) : "";
  line.querySelector("[data-mode]").textContent = kind === "kept" ? "" : `${modeText(type, mode)} ${uid}:${gid}`;
  if (opens) button.addEventListener("click", () => toggle(button, line, layer, path));
  return line;
}

function toggle(button, line, layer, path) {
  const open = button.getAttribute("aria-expanded") !== "true";
  button.setAttribute("aria-expanded", String(open));
  const below = line.querySelector(":scope > ul");
  if (below) below.hidden = !open;
  else if (open) {
    const list = make("ul", "changes");
    line.append(list);
    fill(list, layer, path);
  }
}

async function fill(list, layer, path, after = "") {
  list.setAttribute("aria-busy", "true");
  const answer = await fetchChanges(layer, path, after);
  list.removeAttribute("aria-busy");
  if (!answer.ok) return list.append(make("li", "errors", answer.message || gettext("The changes could not be read.")));
  list.append(...answer.changes.map((change) => lineOf(layer, change)));
  if (!list.children.length) list.append(make("li", "quiet", gettext("nothing")));
  if (!answer.next) return;
  const more = clone("more-changes");
  more.querySelector("button").addEventListener("click", () => {
    more.remove();
    fill(list, layer, path, answer.next);
  });
  list.append(more);
}

root?.addEventListener(
  "toggle",
  ({ target }) => {
    const place = target.querySelector("[data-changes]");
    if (!target.open || place.children.length) return;
    const list = make("ul", "changes");
    place.append(list);
    fill(list, target.dataset.layer, "/");
  },
  true,
);
