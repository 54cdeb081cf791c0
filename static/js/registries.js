// The page of registries: one dialog to add and edit, a test that shows what became of each address.

import { post } from "./actions.js";
import { clone } from "./dom.js";
import { gettext } from "./i18n.js";
import { toast } from "./toast.js";

const dialog = document.getElementById("registry-dialog");
const form = dialog.querySelector("form");
const title = document.getElementById("registry-title");
const anyway = form.querySelector("[data-anyway]");
const tried = form.querySelector("[data-tried]");

const rowOf = (button) => JSON.parse(button.closest("tr").querySelector('script[type="application/json"]').textContent);

function open(row) {
  form.reset();
  tried.replaceChildren();
  form.querySelector("[data-error]").hidden = true;
  anyway.hidden = true;
  title.textContent = row ? title.dataset.edit : title.dataset.add;
  const { host, username, password, mirrors, ca, token_hosts: tokenHosts, insecure } = form.elements;
  host.readOnly = Boolean(row);
  password.placeholder = row?.username ? password.dataset.kept : "";
  form.querySelector("[data-unless-fixed]").hidden = Boolean(row?.fixed);
  form.querySelector("[data-if-fixed]").hidden = !row?.fixed;
  if (row) {
    host.value = row.host;
    username.value = row.username ?? "";
    mirrors.value = (row.mirrors ?? []).join("\n");
    ca.value = row.ca ?? "";
    tokenHosts.value = (row.token_hosts ?? []).join("\n");
    insecure.checked = Boolean(row.insecure);
  }
  dialog.showModal();
  (row ? username : host).focus();
}

function showTried(list, rows) {
  list.replaceChildren(
    ...rows.map(({ Url: url, Ok: ok, Mirror: mirror, Message: message }) => {
      const line = clone("tried");
      const pill = line.querySelector("[data-pill]");
      pill.dataset.tone = ok ? "ok" : "bad";
      pill.textContent = ok ? gettext("works") : gettext("fails");
      line.querySelector("[data-url]").textContent = url;
      line.querySelector("[data-words]").textContent = message || (mirror ? gettext("mirror") : "");
      return line;
    }),
  );
}

async function test(button, fields) {
  button.setAttribute("aria-busy", "true");
  const answer = await post(form.dataset.testUrl, fields);
  button.removeAttribute("aria-busy");
  return answer;
}

form.querySelector("[data-registry-try]").addEventListener("click", async ({ currentTarget: button }) => {
  if (!form.reportValidity()) return;
  const answer = await test(button, new URLSearchParams(new FormData(form)));
  const error = form.querySelector("[data-error]");
  showTried(tried, answer.tried ?? []);
  error.textContent = answer.ok ? "" : answer.message;
  error.hidden = answer.ok;
  anyway.hidden = answer.ok && answer.works;
});

form.addEventListener("submit", () => (anyway.hidden = false));

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if ("registryOpen" in button.dataset) open(null);
  else if ("registryEdit" in button.dataset) open(rowOf(button));
  else if ("registryTest" in button.dataset) {
    const row = rowOf(button);
    const fields = new URLSearchParams({
      host: row.host,
      username: row.username ?? "",
      mirrors: (row.mirrors ?? []).join("\n"),
      ca: row.ca ?? "",
      token_hosts: (row.token_hosts ?? []).join("\n"),
      insecure: row.insecure ? "1" : "",
    });
    const answer = await test(button, fields);
    toast(answer.message, answer.ok && answer.works ? "ok" : "bad");
  }
});

document.addEventListener("submit", async (event) => {
  if (!("plainForm" in event.target.dataset)) return;
  event.preventDefault();
  const button = event.submitter;
  button.setAttribute("aria-busy", "true");
  const answer = await post(event.target.action, new URLSearchParams(new FormData(event.target)));
  button.removeAttribute("aria-busy");
  toast(answer.message, answer.ok ? "accent" : "bad");
});
