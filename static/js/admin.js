// What Django's admin leaves out, first for screen readers: the little question marks are pictures with a name, a
// completed field is called as its label, and both halves of a moment as theirs.

const named = (id) => document.querySelector(`label[for="${CSS.escape(id)}"]`)?.textContent.trim().replace(/:$/, "");

function mend() {
  for (const mark of document.querySelectorAll(".help-tooltip[aria-label]:not([role])")) mark.setAttribute("role", "img");
  for (const box of document.querySelectorAll(".select2-selection")) {
    const select = box.closest(".related-widget-wrapper, div")?.querySelector("select");
    const name = select && named(select.id);
    for (const part of name ? [box, ...box.querySelectorAll("[role=textbox]")] : []) {
      part.removeAttribute("aria-labelledby");
      part.setAttribute("aria-label", name);
    }
  }
  for (const input of document.querySelectorAll(".vDateField, .vTimeField")) {
    if (input.labels?.length || input.hasAttribute("aria-label")) continue;
    const name = input.closest(".form-row")?.querySelector("label, legend")?.textContent.trim();
    if (name) input.setAttribute("aria-label", name);
  }
}

// For the cards of a phone: what a value is called stands before it.
function label() {
  const names = [...document.querySelectorAll("#result_list thead th")].map((head) => head.querySelector(".text")?.textContent.trim());
  for (const row of document.querySelectorAll("#result_list tbody tr"))
    [...row.cells].forEach((cell, at) => cell.tagName === "TD" && !cell.classList.contains("action-checkbox") && names[at] && (cell.dataset.label = names[at]));
}

// Django's own scripts build their parts at "load" and whenever a row is added.
label();
addEventListener("load", () => {
  mend();
  new MutationObserver(mend).observe(document.getElementById("content") ?? document.body, { childList: true, subtree: true });
});
