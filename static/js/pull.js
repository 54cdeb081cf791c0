// Pulls: one card each, one bar per layer. The state comes from the socket, so it survives a reload.

import { post } from "./actions.js";
import { clone, place } from "./dom.js";
import { size } from "./format.js";
import { gettext, interpolate } from "./i18n.js";
import { Link } from "./socket.js";
import { toast } from "./toast.js";

const DONE_STAYS_MS = 8_000;
const WORDS = { running: gettext("pulling"), done: gettext("done"), failed: gettext("failed"), cancelled: gettext("cancelled") };
const TONES = { running: "accent", done: "ok", failed: "bad", cancelled: "" };

const list = document.querySelector("[data-pulls]");
const form = document.querySelector("[data-pull-form]");
const cards = new Map(); // id -> {element, layers, state}
const dismissed = new Set();

function show(pull) {
  if (dismissed.has(pull.id)) return;
  let card = cards.get(pull.id);
  if (!card) {
    card = { element: clone("pull"), layers: new Map(), state: "" };
    card.element.dataset.id = pull.id;
    card.element.querySelector("[data-reference]").textContent = pull.reference;
    card.reference = pull.reference;
    cards.set(pull.id, card);
    list.prepend(card.element);
  }
  const { element } = card;
  const before = card.state;
  card.state = pull.state;
  element.dataset.state = pull.state;
  const pill = element.querySelector("[data-pill]");
  pill.textContent = WORDS[pull.state] ?? pull.state;
  pill.dataset.tone = TONES[pull.state] ?? "";
  const message = element.querySelector("[data-message]");
  message.textContent = pull.message ?? "";
  message.hidden = !pull.message || (pull.state === "done" && !pull.layers?.length);
  for (const layer of pull.layers ?? []) showLayer(card, layer);
  element.querySelector("[data-total]").textContent = pull.state === "running" ? total(pull.layers ?? []) : "";
  const running = pull.state === "running";
  element.querySelector("[data-cancel]").hidden = !running;
  element.querySelector("[data-again]").hidden = running || pull.state === "done";
  element.querySelector("[data-dismiss]").hidden = running;
  element.querySelector("[data-layers]").hidden = pull.state === "done";
  if (before === "running" && pull.state === "done") {
    toast(interpolate(gettext("%s is here."), [pull.reference]), "ok");
    setTimeout(() => dismiss(pull.id), DONE_STAYS_MS);
  } else if (before === "running" && pull.state === "failed") toast(pull.message || interpolate(gettext("%s could not be pulled."), [pull.reference]), "bad");
  else if (!before && pull.state === "done") dismiss(pull.id);
}

function showLayer(card, { id, status, current, total: whole }) {
  let layer = card.layers.get(id);
  if (!layer) {
    layer = clone("layer");
    layer.querySelector("[data-layer]").textContent = id.slice(0, 12);
    layer.querySelector("progress").setAttribute("aria-label", interpolate(gettext("Layer %s"), [id.slice(0, 12)]));
    card.layers.set(id, layer);
    card.element.querySelector("[data-layers]").append(layer);
  }
  layer.querySelector("[data-status]").textContent = status ?? "";
  const bar = layer.querySelector("progress");
  const finished = /complete|exists/i.test(status ?? "");
  if (finished) {
    bar.max = 1;
    bar.value = 1;
    bar.dataset.tone = /pull complete|exists/i.test(status) ? "ok" : "accent";
  } else if (whole > 0) {
    bar.max = whole;
    bar.value = Math.min(current ?? 0, whole);
  } else if (card.state === "running" && current > 0) bar.removeAttribute("value");
  else bar.value = 0;
  layer.querySelector("[data-bytes]").textContent = whole > 0 && !finished ? `${size(current ?? 0)} of ${size(whole)}` : "";
}

function total(layers) {
  const loading = layers.filter(({ total: whole }) => whole > 0);
  if (!loading.length) return "";
  const done = loading.reduce((sum, { current, total: whole }) => sum + Math.min(current ?? 0, whole), 0);
  const whole = loading.reduce((sum, layer) => sum + layer.total, 0);
  return `${size(done)} of ${size(whole)}`;
}

function dismiss(id) {
  dismissed.add(id);
  cards.get(id)?.element.remove();
  cards.delete(id);
}

list.addEventListener("click", async (event) => {
  const button = event.target.closest("button");
  const id = button?.closest("[data-id]")?.dataset.id;
  if (!id) return;
  if ("dismiss" in button.dataset) dismiss(id);
  else if ("again" in button.dataset) {
    const { reference } = cards.get(id);
    dismiss(id);
    openForm(reference);
  } else if ("cancel" in button.dataset) {
    button.setAttribute("aria-busy", "true");
    const answer = await post(place(`images/pulls/${id}/cancel/`));
    button.removeAttribute("aria-busy");
    if (!answer.ok) toast(answer.message || gettext("The pull could not be cancelled."), "bad");
  }
});

function openForm(reference) {
  const dialog = form.closest("dialog");
  form.elements.reference.value = reference;
  dialog.showModal();
  form.elements.reference.focus();
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("[type=submit]");
  const error = form.querySelector("[data-error]");
  error.hidden = true;
  if (button.getAttribute("aria-busy")) return;
  button.setAttribute("aria-busy", "true");
  const answer = await post(form.action, new URLSearchParams(new FormData(form)));
  button.removeAttribute("aria-busy");
  if (answer.ok) {
    form.reset();
    return form.closest("dialog").close();
  }
  error.textContent = answer.message || gettext("The pull could not be started.");
  error.hidden = false;
});
form.closest("dialog").addEventListener("close", () => (form.querySelector("[data-error]").hidden = true));

new Link("ws/pulls/", {
  text(message) {
    if (message.type === "pulls") {
      const ids = new Set(message.pulls.map(({ id }) => id));
      for (const id of [...cards.keys()]) if (!ids.has(id)) dismiss(id);
      for (const pull of message.pulls) show(pull);
    } else if (message.type === "pull") show(message);
  },
});
