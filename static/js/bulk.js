// One verb for the ticked rows: the server carries it out side by side, and each row says what came of it.

import { answered, backFrom, expect, post } from "./actions.js";
import { ask } from "./ask.js";
import { icon, make } from "./dom.js";
import { gettext, interpolate } from "./i18n.js";
import { toast } from "./toast.js";

const SAID_MS = 8_000; // how long a row says that it went well; a refusal stays until it is closed or asked again

const bar = document.querySelector("[data-bulk]");
const outcomes = new Map(); // container id -> {ok, text}
const tickedRows = () => [...document.querySelectorAll("tr[data-id]:has(input[name=ids]:checked)")];

bar?.addEventListener("click", (event) => {
  const to = event.target.closest("[data-open-ticked]")?.dataset.openTicked;
  if (to) location.assign(`${to}?${new URLSearchParams(tickedRows().map((row) => ["container", row.dataset.id]))}`);
});

bar?.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-verb]");
  if (!button || button.getAttribute("aria-disabled") === "true") return;
  const rows = tickedRows();
  const verb = button.dataset.verb;
  const fields = new URLSearchParams({ verb });
  for (const row of rows) fields.append("ids", row.dataset.id);
  if (button.dataset.ask) {
    const answer = await ask(button.dataset.ask, {
      count: rows.length,
      list: rows.map((row) => row.dataset.name),
      states: rows.map((row) => row.dataset.state),
    });
    if (!answer) return;
    for (const [key, value] of answer) fields.set(key, value);
  }
  const back = new Map(rows.map((row) => [row.dataset.id, backFrom(verb, row.dataset.state)]));
  button.setAttribute("aria-busy", "true");
  button.setAttribute("aria-disabled", "true");
  const results = await carryOut(verb, fields, [...back.keys()]);
  button.removeAttribute("aria-busy");
  button.removeAttribute("aria-disabled");
  for (const { id, ok } of results) {
    const box = document.querySelector(`tr[data-id="${CSS.escape(id)}"] input[name=ids]`);
    if (ok && box) box.checked = false;
  }
  document.dispatchEvent(new CustomEvent("webdock:ticked"));
  const done = results.filter((result) => result.ok).length;
  const words = { verb: button.textContent.trim().replace("…", ""), done, all: results.length };
  const undone = results.filter(({ id, ok }) => ok && back.get(id)).map(({ id }) => id);
  const undo = () => {
    const again = new URLSearchParams({ verb: back.get(undone[0]) });
    for (const id of undone) again.append("ids", id);
    carryOut(back.get(undone[0]), again, undone);
  };
  const said = interpolate(gettext("%(verb)s: %(done)s of %(all)s done"), words);
  toast(said, done === results.length ? "ok" : "warn", undone.length ? undo : null);
});

// Ask for it; what came of it stands in each row. [{id, ok, …}]
async function carryOut(verb, fields, ids) {
  for (const id of ids) {
    forget(id);
    expect(id, verb);
  }
  const answer = await post(bar.dataset.bulk, fields);
  const otherwise = answer.message || gettext("That did not work.");
  const results = answer.results ?? ids.map((id) => ({ id, ok: false, message: otherwise }));
  for (const { id, ok, message } of results) {
    answered(id, ok);
    note(id, ok, message || otherwise);
  }
  return results;
}

// -- what came of it, in the rows ------------------------------------------------------------------

function note(id, ok, text) {
  const outcome = { ok, text };
  outcomes.set(id, outcome);
  show();
  if (ok) setTimeout(() => outcomes.get(id) === outcome && forget(id), SAID_MS);
}

function forget(id) {
  outcomes.delete(id);
  show();
}

// Rows are replaced whenever the server sends news of them; what was said stands in the new one again.
function show() {
  for (const old of document.querySelectorAll(".outcome")) old.remove();
  for (const [id, { ok, text }] of outcomes) {
    const cell = document.querySelector(`tr[data-id="${CSS.escape(id)}"] > td.key`);
    if (!cell) continue;
    const close = make("button", "icon-button", icon("x"));
    close.type = "button";
    close.setAttribute("aria-label", gettext("Dismiss"));
    close.addEventListener("click", () => forget(id));
    const words = make("bdi", "", text);
    words.title = text;
    const line = make("p", "outcome", icon(ok ? "check" : "alert"), words, close);
    line.dataset.tone = ok ? "ok" : "bad";
    cell.append(line);
  }
}

for (const news of ["webdock:rows", "webdock:swapped"]) document.addEventListener(news, show);
