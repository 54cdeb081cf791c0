// The run form shows what it does as a docker command line, and sends itself once.

import { copyText } from "./copy.js";

const form = document.querySelector("[data-run-form]");
const out = form.querySelector("[data-run-line]");

// A word as a shell takes it.
export const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);

const lines = (text) => (text ?? "").split("\n").map((line) => line.trim()).filter((line) => line && !line.startsWith("#"));

// The fields of the form -> "docker run -d --name web nginx". command is shell text already.
export function runLine(fields) {
  const words = ["docker", "run", "-d"];
  const add = (option, value) => value && words.push(option, quoted(value));
  if (fields.tty) words.push("-t");
  if (fields.open_stdin) words.push("-i");
  if (fields.auto_remove) words.push("--rm");
  add("--name", fields.name);
  add("--hostname", fields.hostname);
  if (fields.restart && fields.restart !== "no") add("--restart", fields.restart);
  add("--network", fields.network);
  add("--user", fields.user);
  add("--workdir", fields.workdir);
  add("--memory", fields.memory);
  add("--cpus", fields.cpus);
  add("--pids-limit", fields.pids);
  for (const line of lines(fields.env)) add("-e", line);
  for (const line of lines(fields.ports)) add("-p", line);
  for (const line of lines(fields.volumes)) add("-v", line);
  for (const line of lines(fields.labels)) add("--label", line);
  add("--entrypoint", fields.entrypoint);
  words.push(fields.image ? quoted(fields.image) : "IMAGE");
  return [words.join(" "), (fields.command ?? "").trim()].filter(Boolean).join(" ");
}

function show() {
  out.textContent = runLine(Object.fromEntries(new FormData(form)));
}

form.elements.image?.setAttribute("list", "image-tags");
form.addEventListener("input", show);
form.querySelector("[data-copy-line]").addEventListener("click", () => copyText(out.textContent));
form.addEventListener("submit", (event) => {
  const button = form.querySelector("[type=submit]");
  if (button.getAttribute("aria-busy")) event.preventDefault();
  button.setAttribute("aria-busy", "true");
});
// Back from the next page: the form can be sent again.
addEventListener("pageshow", () => form.querySelector("[type=submit]").removeAttribute("aria-busy"));
show();
if (!form.elements.image?.value) form.elements.image?.focus();
