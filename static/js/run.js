// The run form: shows what it does as a docker command line and what is wrong while it is typed, both in the
// server's words; reads a pasted line; pulls an image that is missing; sends itself once.

import { post } from "./actions.js";
import { copyText } from "./copy.js";
import { make } from "./dom.js";
import { gettext } from "./i18n.js";
import { Link } from "./socket.js";

const CHECK_AFTER_MS = 250;
const ENV_FILE_MAX_BYTES = 64 * 1024;
const form = document.querySelector("[data-run-form]");
const out = form.querySelector("[data-run-line]");
const touched = new Set();
let timer = 0;
let asked = 0;

async function check() {
  const number = ++asked;
  if (overlong().length) return; // said already; megabytes are not sent for every key
  const answer = await post(form.dataset.check, new URLSearchParams(new FormData(form)));
  if (number !== asked || answer.line === undefined) return; // an older answer, or none
  out.textContent = answer.line;
  for (const name of touched) mark(name, answer.errors[name] ?? [], answer.remarks[name] ?? []);
}

// The browser would cut a paste without a word; so it is refused in the server's.
function overlong() {
  const found = [...form.querySelectorAll("[data-max-chars]")].filter((input) => input.value.length > Number(input.dataset.maxChars));
  for (const input of found) {
    const words = gettext("This is too long: %(limit_value)d characters at most.");
    mark(input.name, [words.replace("%(limit_value)d", input.dataset.maxChars)]);
  }
  return found;
}

function mark(name, errors, remarks = []) {
  const input = form.elements[name];
  const field = input?.closest?.(".field");
  if (!field) return;
  const said = [];
  for (const [kind, words] of [["error", errors], ["remark", remarks]]) {
    field.querySelector(`.${kind}`)?.remove();
    if (!words.length) continue;
    const note = make("div", kind, words.join(" "));
    note.id = `${input.id}_${kind}`;
    note.setAttribute("role", "status");
    field.append(note);
    said.push(note.id);
  }
  field.toggleAttribute("data-invalid", errors.length > 0);
  if (errors.length) input.setAttribute("aria-invalid", "true");
  else input.removeAttribute("aria-invalid");
  const hint = field.querySelector(".hint[id]")?.id;
  const described = [hint, ...said].filter(Boolean).join(" ");
  if (described) input.setAttribute("aria-describedby", described);
  else input.removeAttribute("aria-describedby");
  const section = field.closest("details");
  if (errors.length && section) section.open = true;
}

function soon() {
  clearTimeout(timer);
  timer = setTimeout(check, CHECK_AFTER_MS);
}

form.elements.image?.setAttribute("list", "image-tags");
form.addEventListener("input", (event) => {
  if (event.target.name) touched.add(event.target.name);
  soon();
});
form.querySelector("[data-copy-line]").addEventListener("click", () => copyText(out.textContent));
form.addEventListener("submit", (event) => {
  const button = form.querySelector("[type=submit]");
  const [long] = overlong();
  if (long) {
    event.preventDefault();
    return long.focus();
  }
  if (button.getAttribute("aria-busy")) event.preventDefault();
  button.setAttribute("aria-busy", "true");
});
// Back from the next page: the form can be sent again.
addEventListener("pageshow", () => form.querySelector("[type=submit]").removeAttribute("aria-busy"));

// A .env file dropped on the environment is its text.
const env = form.elements.env;
env.addEventListener("dragover", (event) => event.preventDefault());
env.addEventListener("drop", async (event) => {
  const file = event.dataTransfer.files[0];
  if (!file) return;
  event.preventDefault();
  if (file.size > ENV_FILE_MAX_BYTES) return mark("env", [gettext("This file is too long for an environment.")]);
  env.value = [env.value.trimEnd(), (await file.text()).trimEnd()].filter(Boolean).join("\n");
  touched.add("env");
  soon();
});

// A pasted docker run line.
const reader = document.querySelector("[data-read-line]");
reader?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const notes = reader.querySelector("[data-notes]");
  const answer = await post(reader.action, new URLSearchParams(new FormData(reader)));
  const said = answer.ok ? answer.notes : [answer.message || gettext("The line could not be read.")];
  notes.replaceChildren(...said.map((text) => make("li", "", text)));
  if (!answer.ok) return;
  for (const [name, value] of Object.entries(answer.fields)) set(name, value);
  if (!said.length) reader.closest("details").open = false;
  form.elements.image.focus();
  check();
});

function set(name, value) {
  const input = form.elements[name];
  if (!input) return;
  if (input.type === "checkbox") input.checked = Boolean(value);
  else {
    const text = String(value || (name === "restart" ? "no" : ""));
    if (input.options && ![...input.options].some((one) => one.value === text)) input.add(new Option(text, text));
    input.value = text;
  }
  touched.add(name);
  const section = input.closest("details");
  if (section && value && value !== "no") section.open = true;
}

// An image that is not here yet.
const missing = document.querySelector("[data-missing]");
missing?.querySelector("[data-pull-missing]").addEventListener("click", async ({ currentTarget: button }) => {
  const [state, bar, cancel] = ["state", "bar", "cancel"].map((name) => missing.querySelector(`[data-pull-${name}]`));
  const platform = form.elements.platform?.value.trim();
  const asked = new URLSearchParams({ reference: form.elements.image.value.trim(), ...(platform && { platform }) });
  button.setAttribute("aria-busy", "true");
  button.disabled = true;
  let link;
  const over = (text) => {
    state.textContent = text || gettext("The image could not be pulled.");
    button.removeAttribute("aria-busy");
    button.disabled = false;
    bar.hidden = cancel.hidden = true;
    link?.stop();
  };
  const answer = await post(button.dataset.pullMissing, asked);
  if (!answer.ok) return over(answer.message);
  cancel.hidden = bar.hidden = false;
  cancel.onclick = async () => {
    const ended = await post(`${button.dataset.jobs}${answer.pull}/cancel/`);
    if (!ended.ok) state.textContent = ended.message;
  };
  link = new Link("ws/jobs/", {
    text(message) {
      const pull = message.type === "jobs" ? message.jobs.find((one) => one.id === answer.pull) : message;
      if (pull?.id !== answer.pull) return;
      if (pull.total > 0) [bar.max, bar.value] = [pull.total, Math.min(pull.current, pull.total)];
      if (pull.state === "running") state.textContent = pull.message || gettext("pulling");
      else if (pull.state === "done") form.requestSubmit();
      else over(pull.state === "cancelled" ? gettext("The pull was cancelled.") : pull.message);
    },
  });
});

check();
if (!form.elements.image?.value) form.elements.image?.focus();
