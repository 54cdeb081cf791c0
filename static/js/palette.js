// The search in the top bar: pages and actions at once, containers and images as the server finds them.

import { icon, make, place } from "./dom.js";
import { gettext } from "./i18n.js";

const WAIT_MS = 140; // after the last key
const FOUND_MAX = 8; // of each kind

const form = document.querySelector("[data-omnibox]");
const input = form?.querySelector("input");
const box = make("div", "found");
let options = [];
let at = -1;
let asked = 0;
let timer;

function commands() {
  const found = [];
  for (const link of document.querySelectorAll(".side .side-link[href]")) {
    const name = link.childNodes[1]?.textContent.trim() ?? link.textContent.trim();
    if (!found.some((other) => other.name === name)) found.push({ name, icon: iconOf(link), go: () => link.click() });
  }
  for (const button of document.querySelectorAll(".main .head .button, .detail-head .button[data-verb], .detail-head .group > a, .tabs a")) {
    if (!button.getClientRects().length) continue;
    const name = button.textContent.trim();
    if (name && !found.some((other) => other.name === name)) found.push({ name, icon: iconOf(button), go: () => button.click() });
  }
  for (const button of document.querySelectorAll("[data-theme-choice]")) {
    found.push({ name: `${button.closest("[aria-label]").getAttribute("aria-label")}: ${button.textContent.trim()}`, icon: iconOf(button), go: () => button.click() });
  }
  return found;
}

const iconOf = (element) => element.querySelector("use")?.getAttribute("href").split("#")[1] ?? "hand";

// Every word of the question stands in the name.
export function matches(name, question) {
  const text = name.toLocaleLowerCase();
  return question.toLocaleLowerCase().split(/\s+/).every((word) => text.includes(word));
}

async function rowsOf(kind, question) {
  const response = await fetch(`${place(`${kind}/`)}?q=${encodeURIComponent(question)}`, { headers: { Accept: "text/html" } });
  if (!response.ok || response.redirected) return [];
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  return [...page.querySelectorAll("tbody tr[data-id]")].slice(0, FOUND_MAX).map((row) => ({
    name: row.dataset.name,
    where: row.dataset.state
      ? `${row.querySelector(".image")?.textContent ?? ""} · ${row.querySelector(".pill")?.textContent ?? ""}`
      : row.dataset.id.replace("sha256:", "").slice(0, 12),
    icon: kind.slice(0, -1),
    go: () => location.assign(row.querySelector("a[data-open]").getAttribute("href")),
  }));
}

function group(title, found) {
  if (!found.length) return [];
  const label = make("span", "", title);
  label.id = `found-before-${options.length}`; // without a space: it is referred to
  const element = make("div", "", label);
  element.setAttribute("role", "group");
  element.setAttribute("aria-labelledby", label.id);
  for (const { name, where, icon: name_, go } of found) {
    const text = make("bdi", "name", name);
    const option = make("div", "", icon(name_), text);
    if (where) option.append(make("span", "where", where));
    option.setAttribute("role", "option");
    option.id = `found-${options.length}`;
    options.push({ element: option, go });
    element.append(option);
  }
  return [element];
}

function nothing(words) {
  const line = make("div", "none", words);
  line.setAttribute("role", "option");
  line.setAttribute("aria-disabled", "true");
  return line;
}

function show(question, containers, images, pending) {
  options = [];
  const pages = commands().filter(({ name }) => matches(name, question)).slice(0, question ? FOUND_MAX : 30);
  const groups = [...group(gettext("Containers"), containers), ...group(gettext("Images"), images), ...group(gettext("Go to"), pages)];
  if (!groups.length) groups.push(nothing(pending ? gettext("Looking…") : gettext("Nothing found.")));
  box.replaceChildren(...groups);
  if (!box.matches(":popover-open")) box.showPopover();
  const rect = input.getBoundingClientRect();
  box.style.top = `${rect.bottom + 6}px`;
  box.style.left = `${Math.max(8, Math.min(rect.left, innerWidth - box.offsetWidth - 8))}px`;
  input.setAttribute("aria-expanded", "true");
  pick(question && options.length ? 0 : -1);
}

function pick(index) {
  options[at]?.element.removeAttribute("aria-selected");
  at = index;
  const option = options[at]?.element;
  if (option) {
    option.setAttribute("aria-selected", "true");
    option.scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", option.id);
  } else input.removeAttribute("aria-activedescendant");
}

function look() {
  const question = input.value.trim();
  const turn = ++asked;
  clearTimeout(timer);
  if (!question) return show("", [], [], false);
  show(question, [], [], true);
  timer = setTimeout(async () => {
    const [containers, images] = await Promise.all(["containers", "images"].map((kind) => rowsOf(kind, question).catch(() => [])));
    if (turn === asked && document.activeElement === input) show(question, containers, images, false);
  }, WAIT_MS);
}

function hide() {
  asked += 1;
  clearTimeout(timer);
  if (box.matches(":popover-open")) box.hidePopover();
  input.setAttribute("aria-expanded", "false");
  input.removeAttribute("aria-activedescendant");
}

function take(option) {
  hide();
  input.value = "";
  input.blur();
  option.go();
}

if (form) {
  box.id = "found";
  box.popover = "manual";
  box.setAttribute("role", "listbox");
  box.setAttribute("aria-label", input.getAttribute("aria-label"));
  form.append(box);
  input.setAttribute("role", "combobox");
  input.setAttribute("aria-controls", box.id);
  input.setAttribute("aria-expanded", "false");
  input.setAttribute("aria-autocomplete", "list");
  input.addEventListener("input", look);
  input.addEventListener("focus", look);
  input.addEventListener("blur", hide);
  box.addEventListener("pointerdown", (event) => event.preventDefault()); // the field keeps the focus
  box.addEventListener("click", (event) => {
    const option = options.find(({ element }) => element.contains(event.target));
    if (option) take(option);
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (options.length) pick((at + (event.key === "ArrowDown" ? 1 : -1) + options.length) % options.length);
    } else if (event.key === "Enter" && options[at]) {
      event.preventDefault();
      take(options[at]);
    } else if (event.key === "Escape") {
      event.preventDefault();
      input.value = "";
      input.blur();
    }
  });
  document.addEventListener("keydown", (event) => {
    const ctrlK = (event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey && event.key.toLowerCase() === "k";
    const slash = event.key === "/" && !event.ctrlKey && !event.metaKey && !event.altKey;
    if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
    const typed = event.target.closest?.("input, textarea, select, .xterm");
    if ((ctrlK && !event.target.closest?.(".xterm")) || (slash && !typed)) {
      event.preventDefault();
      input.focus();
      input.select();
    }
  });
}
