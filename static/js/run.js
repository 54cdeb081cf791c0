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
  const answer = await post(form.dataset.check, new URLSearchParams(new FormData(form)));
  if (number !== asked || answer.line === undefined) return; // an older answer, or none
  out.textContent = answer.line;
  for (const name of touched) mark(name, answer.errors[name] ?? []);
}

function mark(name, words) {
  const input = form.elements[name];
  const field = input?.closest?.(".field");
  if (!field) return;
  for (const old of field.querySelectorAll(".error")) old.remove();
  field.toggleAttribute("data-invalid", words.length > 0);
  if (words.length) input.setAttribute("aria-invalid", "true");
  else input.removeAttribute("aria-invalid");
  for (const text of words) {
    const error = make("div", "error", text);
    error.setAttribute("role", "status");
    field.append(error);
  }
  const section = field.closest("details");
  if (words.length && section) section.open = true;
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
  const state = missing.querySelector("[data-pull-state]");
  const reference = form.elements.image.value.trim();
  button.setAttribute("aria-busy", "true");
  button.disabled = true;
  let link;
  const failed = (text) => {
    state.textContent = text || gettext("The image could not be pulled.");
    button.removeAttribute("aria-busy");
    button.disabled = false;
    link?.stop();
  };
  const answer = await post(button.dataset.pullMissing, new URLSearchParams({ reference }));
  if (!answer.ok) return failed(answer.message);
  link = new Link("ws/jobs/", {
    text(message) {
      const pull = message.type === "jobs" ? message.jobs.find((one) => one.id === answer.pull) : message;
      if (pull?.id !== answer.pull) return;
      if (pull.state === "running") state.textContent = pull.message || gettext("pulling");
      else if (pull.state === "done") form.requestSubmit();
      else failed(pull.message);
    },
  });
});

check();
if (!form.elements.image?.value) form.elements.image?.focus();
