// Which columns the list shows; kept by the browser.

import { recall, remember } from "./dom.js";
import { placeBeside } from "./menu.js";

const KEY = "webdock.columns.hidden";
const menu = document.querySelector("[data-columns]");
const button = document.querySelector("[data-columns-button]");
const hidden = new Set(recall(KEY).split(" ").filter(Boolean));

const apply = () => (document.documentElement.dataset.hide = [...hidden].join(" "));

for (const box of menu.querySelectorAll("input")) box.checked = !hidden.has(box.value);
menu.addEventListener("change", ({ target }) => {
  if (target.checked) hidden.delete(target.value);
  else hidden.add(target.value);
  remember(KEY, hidden.size ? [...hidden].join(" ") : null);
  apply();
});
menu.addEventListener("toggle", ({ newState }) => newState === "open" && placeBeside(menu, button));
apply();
