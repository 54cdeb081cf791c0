// One menu for all rows: put at the pressed button, filled with the row's state and paths.

import { subjectOf } from "./actions.js";
import { copyText } from "./copy.js";

const EDGE_PX = 8;
let closedAt = 0;
let opener = null;

// Below the button, or above it where there is no room, inside the window.
export function placeBeside(menu, button) {
  const at = button.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = menu;
  const below = at.bottom + 4 + height <= innerHeight - EDGE_PX;
  menu.style.top = `${below ? at.bottom + 4 : Math.max(EDGE_PX, at.top - height - 4)}px`;
  menu.style.left = `${Math.max(EDGE_PX, Math.min(at.right - width, innerWidth - width - EDGE_PX))}px`;
}

function openFor(button) {
  const menu = document.getElementById(button.dataset.rowMenu);
  const { id, name, state, url } = subjectOf(button);
  if (!menu || !id) return;
  Object.assign(menu.dataset, { id, name, state, url });
  for (const item of menu.querySelectorAll("[data-tab]")) item.href = url + item.dataset.tab;
  opener = button;
  menu.showPopover();
  placeBeside(menu, button);
  visible(menu)[0]?.focus();
}

const visible = (menu) => [...menu.querySelectorAll("a, button")].filter((item) => item.offsetParent !== null || item.getClientRects().length);

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-row-menu]");
  if (button) {
    const menu = document.getElementById(button.dataset.rowMenu);
    if (opener === button && (menu.matches(":popover-open") || performance.now() - closedAt < 200)) menu.hidePopover();
    else openFor(button);
    return;
  }
  const copy = event.target.closest("[data-copy-row]");
  if (copy) {
    const menu = copy.closest("[popover]");
    copyText(menu.dataset[copy.dataset.copyRow]);
    menu.hidePopover();
  }
});

// Menus of rows come and go with their rows; the events of popovers do not bubble.
document.addEventListener(
  "toggle",
  ({ target, newState }) => {
    if (newState !== "open" || !target.matches?.(".ports-menu")) return;
    placeBeside(target, document.querySelector(`[popovertarget="${CSS.escape(target.id)}"]`));
  },
  true,
);

// Arrow keys, Home and End go through a menu.
export function walkable(menu) {
  menu.addEventListener("keydown", (event) => {
    const items = visible(menu);
    const at = items.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    items[(to + items.length) % items.length].focus();
  });
}

for (const menu of document.querySelectorAll(".menu[popover]:not(.ports-menu, form)")) {
  walkable(menu);
  menu.addEventListener("toggle", (event) => {
    if (event.newState === "closed") closedAt = performance.now();
    else if (!menu.dataset.id) visible(menu)[0]?.focus();
  });
}
