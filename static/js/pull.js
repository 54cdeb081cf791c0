// The form that begins a pull. Its progress is a job's: jobs.js shows it, here and on every page.

import { post } from "./actions.js";
import { gettext } from "./i18n.js";

const form = document.querySelector("[data-pull-form]");
const dialog = form.closest("dialog");
const error = form.querySelector("[data-error]");

document.addEventListener("webdock:pull-again", ({ detail }) => {
  form.elements.reference.value = detail;
  document.querySelector("[popover]:popover-open")?.hidePopover();
  dialog.showModal();
  form.elements.reference.focus();
});

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("[type=submit]");
  error.hidden = true;
  if (button.getAttribute("aria-busy")) return;
  button.setAttribute("aria-busy", "true");
  const answer = await post(form.action, new URLSearchParams(new FormData(form)));
  button.removeAttribute("aria-busy");
  if (answer.ok) {
    form.reset();
    return dialog.close();
  }
  error.textContent = answer.message || gettext("The pull could not be started.");
  error.hidden = false;
});

dialog.addEventListener("close", () => (error.hidden = true));
