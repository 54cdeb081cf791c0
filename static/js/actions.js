// The verbs: a button asks by fetch and waits, disabled, until the row's news came; refusals become messages.

import { ask } from "./ask.js";
import { copyText } from "./copy.js";
import { meta } from "./dom.js";
import { gettext, interpolate } from "./i18n.js";
import { toast } from "./toast.js";

const LISTED_PAGES_MAX = 20; // of a list read to name what a prune takes
const NEWS_WAIT_MS = 4_000; // after the answer; news may be lost, or there is none ("already stopped")

// POST a form as JSON; never throws. {ok, message, …what the server said}
export async function post(url, fields = new URLSearchParams()) {
  try {
    const response = await fetch(url, {
      method: "POST",
      body: fields,
      headers: { Accept: "application/json", "X-CSRFToken": meta("csrf-token") },
      redirect: "follow",
    });
    if (response.status === 401) location.assign(`${meta("webdock-login")}?next=${encodeURIComponent(location.pathname)}`);
    if (response.headers.get("Content-Type")?.includes("json")) {
      const answer = await response.json();
      return { ok: response.ok, message: "", ...answer, status: response.status };
    }
    const message = response.ok ? "" : interpolate(gettext("The server answered %s. Reload the page and try again."), [response.status]);
    return { ok: response.ok, message, status: response.status };
  } catch {
    return { ok: false, message: gettext("The server could not be reached. Nothing was changed as far as this page knows."), status: 0 };
  }
}

// What the server answered, as a message.
export function say(answer) {
  toast(answer.message || gettext("That did not work."), answer.ok ? "ok" : "bad");
}

// -- who waits for news ---------------------------------------------------------

const waiting = new Map(); // id -> {verb, answered, heard, timer}

export function expect(id, verb) {
  clearTimeout(waiting.get(id)?.timer);
  waiting.set(id, { verb, answered: false, heard: false });
  mark(id);
}

export function answered(id, ok) {
  const wait = waiting.get(id);
  if (!wait) return;
  wait.answered = true;
  if (!ok || wait.heard) settle(id);
  else wait.timer = setTimeout(() => settle(id), NEWS_WAIT_MS);
}

// rows.js tells when a row, or its absence, arrived.
export function heard(id) {
  const wait = waiting.get(id);
  if (!wait) return;
  wait.heard = true;
  if (wait.answered) settle(id);
  else mark(id);
}

function settle(id) {
  clearTimeout(waiting.get(id)?.timer);
  waiting.delete(id);
  mark(id);
}

// aria-disabled instead of disabled: the keyboard keeps its place.
export function mark(id) {
  const verb = waiting.get(id)?.verb;
  for (const holder of document.querySelectorAll(`[data-id="${CSS.escape(id)}"]`)) {
    holder.classList.toggle("waiting", Boolean(verb));
    for (const button of holder.querySelectorAll("button[data-verb]")) {
      if (verb) button.setAttribute("aria-disabled", "true");
      else button.removeAttribute("aria-disabled");
      if (verb === button.dataset.verb) button.setAttribute("aria-busy", "true");
      else button.removeAttribute("aria-busy");
    }
  }
}

// -- what can be undone ---------------------------------------------------------------

const BACK = { stop: "start", pause: "unpause" }; // of what ran

// The verb that takes this one back; undefined where something stays lost.
export const backFrom = (verb, state) => (state === "running" ? BACK[verb] : undefined);

// A function that takes the verb back, or null.
function undoOf(verb, { id, name, state, url }, action, fields) {
  const back = verb === "rename" ? "rename" : backFrom(verb, state);
  if (!back) return null;
  const again = new URLSearchParams(verb === "rename" ? [...fields.keys()].map((field) => [field, name]) : []);
  return async () => {
    expect(id, back);
    const answer = await post(verb === "rename" ? action : `${url}${back}/`, again);
    answered(id, answer.ok);
    if (!answer.ok) say(answer);
    document.dispatchEvent(new CustomEvent("webdock:stale"));
  };
}

// -- one verb -------------------------------------------------------------------------

// What a row, a header or a row's open menu is about. A row's address is that of its link.
export function subjectOf(element) {
  const holder = element.closest("[data-id]");
  const { id = "", name = "", state = "" } = holder?.dataset ?? {};
  const gone = document.querySelector("[data-gone]")?.dataset.gone; // where a page about one thing goes without it
  return { id, name, state, gone, url: holder?.dataset.url ?? holder?.querySelector("a[data-open]")?.getAttribute("href") ?? "" };
}

async function act(button) {
  const subject = subjectOf(button);
  const { id, name, state, gone, url } = subject;
  const verb = button.dataset.verb;
  const action = button.hasAttribute("formaction") ? button.formAction : `${url}${verb}/`;
  if (waiting.has(id)) return;
  const fields = new URLSearchParams();
  if (button.name) fields.set(button.name, button.value);
  if (button.dataset.ask) {
    const list = [...(button.closest("[data-id]")?.querySelectorAll("[data-lost] bdi, .tags bdi") ?? [])].map((lost) => lost.textContent);
    const lists = button.dataset.listsFrom === undefined ? {} : await listsFrom(button);
    if (!lists) return;
    const took = sizeIn(button.closest("tr"));
    const held = took && interpolate(gettext("It takes %s."), [took]);
    const answer = await ask(button.dataset.ask, { name, state, list, lists, held });
    if (!answer) return;
    for (const [key, value] of answer) fields.set(key, value);
  }
  expect(id, verb);
  const answer = await post(action, fields);
  answered(id, answer.ok);
  if (verb === "prune") settle(id); // what is gone is told of by its own rows
  if (!answer.ok) return toast(answer.message || gettext("That did not work."), "bad");
  const undo = undoOf(verb, subject, action, fields);
  if (undo || ["remove", "untag", "tag", "prune", "end"].includes(verb)) toast(answer.message, "ok", undo);
  if (gone && verb === "remove") return location.assign(gone);
  document.dispatchEvent(new CustomEvent("webdock:stale"));
  if (gone && (verb === "tag" || verb === "untag")) location.reload();
  else if (verb === "untag") location.reload();
}

// What a row says its thing takes, once that was measured; "" before, and where nobody can tell.
function sizeIn(row) {
  const text = row?.querySelector("[data-size-of]")?.textContent ?? "";
  return text === "–" ? "" : text;
}

// What a prune would take: the names of rows marked data-prunes="kind", of this page or, with an address,
// of that list's pages. {kind: [names]}, or null when they could not be read or there are none.
async function listsFrom(button) {
  const lists = {};
  const note = (root) => {
    for (const row of root.querySelectorAll("tr[data-prunes]")) {
      const took = sizeIn(row);
      (lists[row.dataset.prunes] ??= []).push(took ? `${row.dataset.name} · ${took}` : row.dataset.name);
    }
  };
  let url = button.dataset.listsFrom;
  if (!url) note(document);
  button.setAttribute("aria-busy", "true");
  try {
    for (let pages = 0; url && pages < LISTED_PAGES_MAX; pages += 1) {
      const response = await fetch(url, { headers: { Accept: "text/html" } });
      if (!response.ok || response.redirected) throw new Error(String(response.status));
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      note(page);
      const next = page.querySelector(".panel-foot a[rel=next]")?.getAttribute("href");
      url = next ? new URL(next, new URL(url, location.href)).href : "";
    }
  } catch {
    toast(gettext("What would be removed could not be read. Nothing was removed."), "bad");
    return null;
  } finally {
    button.removeAttribute("aria-busy");
  }
  if (Object.keys(lists).length) return lists;
  toast(button.dataset.noneWord, "accent");
  return null;
}

document.addEventListener("submit", (event) => {
  if (event.target.id !== "verbs") return;
  event.preventDefault();
  const button = event.submitter;
  if (!button || button.getAttribute("aria-disabled") === "true") return;
  button.closest("[popover]")?.hidePopover();
  act(button);
});

// -- forms in dialogs: the refusal stays beside the fields -------------------------------------

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!("dialogForm" in form.dataset)) return;
  event.preventDefault();
  const button = form.querySelector("[type=submit]");
  if (button.getAttribute("aria-busy")) return;
  showRefusal(form, "");
  button.setAttribute("aria-busy", "true");
  const answer = await post(form.action, new URLSearchParams(new FormData(form)));
  button.removeAttribute("aria-busy");
  if (!answer.ok) return showRefusal(form, answer.message || gettext("That did not work."));
  form.reset();
  form.closest("dialog").close();
  toast(answer.message, "ok");
  document.dispatchEvent(new CustomEvent("webdock:stale"));
});

// "subnet: expected …" is about the field of that name.
function showRefusal(form, message) {
  for (const field of form.querySelectorAll(".field[data-invalid]")) field.removeAttribute("data-invalid");
  const error = form.querySelector("[data-error]");
  error.textContent = message;
  error.hidden = !message;
  const input = message && form.elements[message.split(":")[0]];
  if (!input?.closest) return;
  input.closest(".field")?.setAttribute("data-invalid", "");
  input.focus();
}

// -- copy buttons and dialogs that pages open ------------------------------------------------

document.addEventListener("click", (event) => {
  const copy = event.target.closest("[data-copy]");
  if (copy) return copyText(copy.dataset.copy);
  const opener = event.target.closest("[data-open-dialog]");
  if (opener) {
    const dialog = document.getElementById(opener.dataset.openDialog);
    dialog.showModal();
    return dialog.querySelector("input:not([type=hidden])")?.focus();
  }
  const closer = event.target.closest("[data-close-dialog]");
  if (closer) closer.closest("dialog").close();
});
