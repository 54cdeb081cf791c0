// A form that asks for a time from and a time until; tells in seconds since 1970, 0 for an open end.

import { serverNow } from "./age.js";
import { gettext, interpolate } from "./i18n.js";

const two = (number) => String(number).padStart(2, "0");

// A moment as <input type=datetime-local> takes it, in the reader's time zone.
export function local(at) {
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${day}T${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

const seconds = (input) => (input.value ? Math.floor(new Date(input.value).getTime() / 1000) : 0);

export function followRange(form, words, tell) {
  const { since, until } = form.elements;
  const show = () => {
    const chosen = { since: seconds(since), until: seconds(until) };
    const parts = [];
    if (chosen.since) parts.push(interpolate(gettext("from %s"), [new Date(since.value).toLocaleString()]));
    if (chosen.until) parts.push(interpolate(gettext("until %s"), [new Date(until.value).toLocaleString()]));
    words.textContent = parts.join(" ");
    words.hidden = !parts.length;
    form.hidePopover();
    tell(chosen);
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    show();
  });
  form.addEventListener("reset", () => setTimeout(show));
  form.addEventListener("click", (event) => {
    const last = Number(event.target.closest("[data-range-last]")?.dataset.rangeLast);
    if (!last) return;
    since.value = local(new Date(serverNow() - last * 1000));
    until.value = "";
    show();
  });
  form.addEventListener("toggle", (event) => {
    if (event.newState !== "open") return;
    const at = document.querySelector(`[popovertarget="${form.id}"]`).getBoundingClientRect();
    form.style.top = `${at.bottom + 4}px`;
    form.style.left = `${Math.max(8, Math.min(at.left, innerWidth - form.offsetWidth - 8))}px`;
  });
}
