// What runs inside a container, asked for every few seconds while somebody looks.

import { make } from "./dom.js";
import { memory } from "./format.js";
import { gettext } from "./i18n.js";

const EVERY_MS = 3_000;
const NUMBERS = ["PID", "%CPU", "RSS"];
const WORDS = { PID: "PID", USER: gettext("User"), "%CPU": "CPU", RSS: gettext("Memory"), ELAPSED: gettext("Running for"), COMMAND: gettext("Command") };

const panel = document.querySelector("[data-processes]");
const table = panel.querySelector("table");
const trouble = panel.querySelector("[data-trouble]");
let timer;
let shown = "";

function text(title, value) {
  if (title === "RSS") return memory(Number(value) * 1024);
  return title === "%CPU" ? `${value} %` : value;
}

function cell(tag, title, content) {
  const element = make(tag, NUMBERS.includes(title) ? "num" : title === "COMMAND" ? `command-line${tag === "td" ? " mono" : ""}` : "nowrap", content);
  if (tag === "th") element.scope = "col";
  return element;
}

function show({ titles, processes }) {
  const now = JSON.stringify([titles, processes]);
  if (now === shown) return;
  shown = now;
  table.tHead.replaceChildren(make("tr", "", ...titles.map((title) => cell("th", title, WORDS[title] ?? title))));
  table.tBodies[0].replaceChildren(
    ...processes.map((process) => make("tr", "", ...process.map((value, at) => cell("td", titles[at], make("bdi", "", text(titles[at], value)))))),
  );
  panel.querySelector("[data-number]").textContent = processes.length;
}

function say(message) {
  trouble.textContent = message;
  trouble.hidden = !message;
}

async function ask() {
  clearTimeout(timer);
  if (panel.hidden) return;
  if (!document.hidden) {
    try {
      const response = await fetch(panel.dataset.processes, { headers: { Accept: "application/json" } });
      const answer = await response.json();
      say(answer.ok ? "" : answer.message);
      if (answer.ok) show(answer);
    } catch {
      say(gettext("The server could not be reached."));
    }
  }
  timer = setTimeout(ask, EVERY_MS);
}

document.addEventListener("webdock:state", ({ detail }) => {
  panel.hidden = detail.state !== "running" && detail.state !== "paused";
  ask();
});
document.addEventListener("visibilitychange", () => document.hidden || ask());
ask();
