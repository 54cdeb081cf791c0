// Short messages at the corner, read out politely. Errors stay until dismissed; what can be undone offers it, longer.

import { clone, icon } from "./dom.js";

const STAY_MS = 5000;
const UNDO_STAY_MS = 10_000;
const AT_ONCE_MAX = 5;
const ICONS = { ok: "check", bad: "alert", warn: "alert", accent: "info" };
const stack = document.getElementById("toasts");

export function toast(text, tone = "accent", undo = null) {
  if (!stack || !text) return;
  const same = [...stack.children].find((shown) => shown.querySelector("p").textContent === text);
  same?.remove();
  const element = clone("toast");
  element.dataset.tone = tone;
  element.querySelector("svg").replaceWith(icon(ICONS[tone]));
  element.querySelector("p").textContent = text;
  const button = element.querySelector("[data-undo]");
  if (undo) button.addEventListener("click", undo);
  else button.remove();
  while (stack.children.length >= AT_ONCE_MAX) stack.firstElementChild.remove();
  stack.append(element);
  raise();
  if (tone !== "bad") leave(element, undo ? UNDO_STAY_MS : STAY_MS);
}

// In the top layer, above an open dialog.
function raise() {
  if (stack.matches(":popover-open")) stack.hidePopover();
  stack.showPopover();
}

function leave(element, after = STAY_MS) {
  setTimeout(() => {
    if (element.matches(":hover, :focus-within")) leave(element);
    else drop(element);
  }, after);
}

function drop(element) {
  element.remove();
  if (!stack.children.length && stack.matches(":popover-open")) stack.hidePopover();
}

stack?.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) drop(button.closest(".toast"));
});
if (stack?.children.length) {
  raise();
  for (const element of [...stack.children]) if (element.dataset.tone !== "bad") leave(element);
}
