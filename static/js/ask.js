// The one dialog that asks before something is lost. Words and fields come from <template>s; names are text.

import { fill, isolate } from "./dom.js";
import { gettext, interpolate } from "./i18n.js";

const LISTED_MAX = 12; // names shown before "and n more"
const dialog = document.getElementById("confirm");

// Resolves to the fields of the answer (URLSearchParams), or null when the person thought better of it.
// about: {name, state, states, list, lists, count, text}; lists has names by kind, for <ul data-list="kind">
export function ask(templateId, about = {}) {
  const template = document.getElementById(templateId);
  const body = dialog.querySelector("[data-body]");
  const ok = dialog.querySelector("[data-ok]");
  const values = { ...about, name: isolate(about.name ?? "") };
  dialog.querySelector("h2").textContent = fill(template.dataset.title, values);
  body.replaceChildren(template.content.cloneNode(true));
  const states = about.states ?? [about.state];
  for (const part of body.querySelectorAll("[data-only]")) {
    if (!part.dataset.only.split(" ").some((state) => states.includes(state))) part.remove();
  }
  for (const part of body.querySelectorAll("[data-fill]")) part.textContent = about[part.dataset.fill] ?? "";
  for (const part of body.querySelectorAll("[data-fill-value]")) part.value = about[part.dataset.fillValue] ?? "";
  const namesOf = (kind) => (kind ? about.lists?.[kind] : about.list) ?? [];
  for (const part of body.querySelectorAll("[data-if-list]")) if (!namesOf(part.dataset.ifList).length) part.remove();
  for (const box of body.querySelectorAll("[data-required-without]")) box.required = !namesOf(box.dataset.requiredWithout).length;
  for (const list of body.querySelectorAll("[data-list]")) writeList(list, namesOf(list.dataset.list));
  ok.textContent = template.dataset.ok;
  ok.classList.toggle("danger", "danger" in template.dataset);
  dialog.returnValue = "";
  dialog.showModal();
  const first = body.querySelector("input:not([type=checkbox]), input[required]");
  (first ?? dialog.querySelector(".dialog-foot [data-cancel]")).focus();
  first?.select?.();
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close",
      () => {
        const form = dialog.querySelector("form");
        resolve(dialog.returnValue === "ok" ? new URLSearchParams(new FormData(form)) : null);
        body.replaceChildren();
      },
      { once: true },
    );
  });
}

function writeList(list, names) {
  if (!names.length) return list.remove();
  for (const name of names.slice(0, LISTED_MAX)) {
    const item = document.createElement("li");
    const text = document.createElement("bdi");
    text.textContent = name;
    item.append(text);
    list.append(item);
  }
  if (names.length > LISTED_MAX) {
    const item = document.createElement("li");
    item.textContent = interpolate(gettext("and %s more"), [names.length - LISTED_MAX]);
    list.append(item);
  }
}

dialog?.addEventListener("click", (event) => {
  if (event.target === dialog || event.target.closest("[data-cancel]")) dialog.close("cancel");
});
