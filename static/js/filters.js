// What narrows a list: words while they are typed, and the form of the other filters. Both end in the address.

import { placeBeside } from "./menu.js";
import { load } from "./rows.js";

const WAIT_MS = 220; // after the last key

const words = document.querySelector("[data-filter]");
const narrow = document.querySelector("[data-narrow]");
let timer;

// The address with these set or, when empty, left out; the first page of it.
function changed(values) {
  const asked = new URLSearchParams(location.search);
  for (const [name, value] of values) {
    if (value.trim()) asked.set(name, value.trim());
    else asked.delete(name);
  }
  asked.delete("page");
  return asked.size ? `?${asked}` : location.pathname;
}

function search() {
  clearTimeout(timer);
  load(changed([["q", words.querySelector("input[type=search]").value]]), "replace");
}

words?.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(search, WAIT_MS);
});
words?.addEventListener("submit", (event) => {
  event.preventDefault();
  search();
});
words?.addEventListener("keydown", (event) => {
  if (event.key === "Escape") event.target.blur();
});

narrow?.addEventListener("toggle", ({ newState }) => {
  if (newState !== "open") return;
  placeBeside(narrow, document.querySelector(`[popovertarget="${narrow.id}"]`));
  narrow.querySelector("input").focus();
});
narrow?.addEventListener("submit", (event) => {
  event.preventDefault();
  narrow.hidePopover();
  load(changed(new FormData(narrow)), "push");
});
narrow?.addEventListener("reset", (event) => {
  event.preventDefault();
  for (const input of narrow.querySelectorAll("input")) input.value = "";
  narrow.querySelector("input").focus();
});

// Another way to other filters (a chip, Back) shows in the inputs.
function show() {
  const asked = new URLSearchParams(location.search);
  for (const input of narrow?.querySelectorAll("input") ?? []) input.value = asked.get(input.name) ?? "";
}
document.addEventListener("webdock:swapped", () => narrow?.matches(":popover-open") || show());
addEventListener("popstate", () => {
  const input = words?.querySelector("input[type=search]");
  if (input) input.value = new URLSearchParams(location.search).get("q") ?? "";
});
