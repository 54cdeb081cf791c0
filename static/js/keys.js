// Single keys on pages without a terminal: walk rows, jump, help. Never while something is typed.

const JUMPS = { o: 0, c: 1, i: 2, v: 3, n: 4 }; // after "g": position in the side bar
const G_MS = 900;
let pressedG = 0;

const typing = (target) => target.closest?.("input, textarea, select, [contenteditable], .xterm, dialog, [role=tree], .log-view");
const rows = () => [...document.querySelectorAll("tr[data-id], tbody tr:has(a[href])")].filter((row) => row.querySelector("a[href]"));

function walk(step) {
  const all = rows();
  if (!all.length) return;
  const at = all.indexOf(document.activeElement?.closest?.("tr"));
  const next = all[at < 0 ? (step > 0 ? 0 : all.length - 1) : Math.max(0, Math.min(all.length - 1, at + step))];
  const link = next.querySelector("[data-open], a[href]");
  link.focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
}

export function help() {
  document.getElementById("help")?.showModal();
}

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.key === "Escape" && !document.querySelector("dialog[open], :popover-open")) {
    return document.dispatchEvent(new CustomEvent("webdock:untick"));
  }
  if (typing(event.target) || document.querySelector("dialog[open]")) return;
  const row = document.activeElement?.closest?.("tr");
  if (event.timeStamp - pressedG < G_MS && event.key in JUMPS) {
    return document.querySelectorAll(".side-main .side-link")[JUMPS[event.key]]?.click();
  }
  pressedG = event.key === "g" ? event.timeStamp : 0;
  const act = {
    j: () => walk(1),
    k: () => walk(-1),
    x: () => row?.querySelector("input[name=ids]")?.click(),
    m: () => row?.querySelector("[data-row-menu]")?.click(),
    f: () => document.querySelector("[data-filter] input[type=search], form.search:not([data-omnibox]) input")?.focus(),
    n: () => document.querySelector('[data-key="n"]')?.click(),
    "?": help,
  }[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

document.addEventListener("click", (event) => {
  if (!event.target.closest("[data-open-help]")) return;
  event.target.closest("[popover]")?.hidePopover();
  help();
});
