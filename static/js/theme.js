// Light, dark or the system's choice. The choice is a cookie, so the server writes it into the page: no flash.

import { meta } from "./dom.js";

const YEAR_S = 365 * 24 * 3600;
const root = document.documentElement;

export const chosen = () => root.dataset.theme ?? "system";

export function choose(theme) {
  if (theme === "system") delete root.dataset.theme;
  else root.dataset.theme = theme;
  const age = theme === "system" ? 0 : YEAR_S;
  document.cookie = `theme=${theme}; path=${meta("webdock-base")}; max-age=${age}; samesite=lax`;
  show();
  document.dispatchEvent(new CustomEvent("webdock:theme"));
}

function show() {
  for (const button of document.querySelectorAll("[data-theme-choice]")) {
    button.setAttribute("aria-checked", String(button.dataset.themeChoice === chosen()));
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-theme-choice]");
  if (!button) return;
  choose(button.dataset.themeChoice);
  button.closest("[popover]")?.hidePopover();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  document.dispatchEvent(new CustomEvent("webdock:theme"));
});
show();
