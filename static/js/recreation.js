// Follows a recreation step by step; at its end the page is loaded again, which says what became of it.

import { gettext } from "./i18n.js";

const LOOK_EVERY_MS = 700;
const root = document.querySelector("[data-recreation]");

async function look() {
  try {
    const answer = await fetch(location.href, { headers: { accept: "application/json" } });
    const { steps, outcome, failure } = await answer.json();
    for (const [name, done] of Object.entries(steps)) {
      const step = root.querySelector(`[data-step="${name}"]`);
      step.toggleAttribute("data-done", done);
      step.querySelector("[data-word]").textContent = done ? gettext("done") : "";
    }
    if (failure) root.querySelector("[data-state]").textContent = gettext("going back");
    if (outcome) return location.reload();
  } catch {
    // The dashboard itself may be restarting: it goes on, and so do we.
  }
  setTimeout(look, LOOK_EVERY_MS);
}

if (!root.dataset.outcome) setTimeout(look, LOOK_EVERY_MS);
