// One job as a card: a bar, a line of words, a bar per part. Drawn again with every news of it.

import { clone } from "./dom.js";
import { size } from "./format.js";
import { gettext, interpolate } from "./i18n.js";

const WORDS = { running: gettext("running"), done: gettext("done"), failed: gettext("failed"), cancelled: gettext("cancelled") };
const TONES = { running: "accent", done: "ok", failed: "bad", cancelled: "" };
const BYTES_FROM = 1000; // a smaller total counts steps, not bytes

export const amount = (current, total) =>
  total >= BYTES_FROM ? interpolate(gettext("%s of %s"), [size(current), size(total)]) : interpolate(gettext("%s of %s"), [current, total]);

export class JobCard {
  constructor(job) {
    this.element = clone("job");
    this.element.dataset.id = job.id;
    this.parts = new Map();
    this.find = (name) => this.element.querySelector(`[data-${name}]`);
    this.draw(job);
  }

  draw(job) {
    this.job = job;
    const running = job.state === "running";
    this.element.dataset.state = job.state;
    this.element.dataset.kind = job.kind;
    this.find("kind").textContent = job.kind_word;
    this.find("name").textContent = job.name;
    if (job.url) this.find("link").href = job.url;
    else this.find("link").removeAttribute("href");
    const pill = this.find("pill");
    pill.textContent = WORDS[job.state] ?? job.state;
    pill.dataset.tone = TONES[job.state] ?? "";
    this.find("total").textContent = running && job.total > 0 ? amount(job.current, job.total) : "";
    this.drawBar(job, running);
    const message = this.find("message");
    message.textContent = job.message ?? "";
    message.hidden = !job.message;
    this.find("by").textContent = job.by;
    const started = this.find("started");
    const at = new Date(job.started);
    started.dateTime = job.started;
    started.textContent = at.toLocaleTimeString(document.documentElement.lang, { hour: "2-digit", minute: "2-digit" });
    started.title = at.toLocaleString(document.documentElement.lang);
    for (const part of job.parts ?? []) this.drawPart(part);
    this.find("parts").hidden = job.state === "done" || !this.parts.size;
    const rights = (document.body.dataset.rights ?? "").split(" ");
    this.find("cancel-job").hidden = !running || !job.cancels || !rights.includes(job.cancels);
    this.find("again").hidden = job.kind !== "pull" || running || job.state === "done" || !document.querySelector("[data-pull-form]");
    this.find("dismiss").hidden = running;
  }

  drawBar(job, running) {
    const bar = this.find("bar");
    bar.hidden = !running;
    bar.setAttribute("aria-label", `${job.kind_word} ${job.name}`);
    if (job.total > 0) {
      bar.max = job.total;
      bar.value = Math.min(job.current, job.total);
    } else bar.removeAttribute("value");
  }

  drawPart({ id, status, current, total }) {
    let layer = this.parts.get(id);
    if (!layer) {
      layer = clone("layer");
      layer.querySelector("[data-layer]").textContent = id.slice(0, 12);
      layer.querySelector("progress").setAttribute("aria-label", interpolate(gettext("Layer %s"), [id.slice(0, 12)]));
      this.parts.set(id, layer);
      this.find("parts").append(layer);
    }
    layer.querySelector("[data-status]").textContent = status ?? "";
    const bar = layer.querySelector("progress");
    const finished = /complete|exists|^pushed|^mounted/i.test(status ?? "");
    if (finished) {
      bar.max = 1;
      bar.value = 1;
      bar.dataset.tone = /^download/i.test(status) ? "accent" : "ok";
    } else if (total > 0) {
      bar.max = total;
      bar.value = Math.min(current ?? 0, total);
    } else if (this.job.state === "running" && current > 0) bar.removeAttribute("value");
    else bar.value = 0;
    layer.querySelector("[data-bytes]").textContent = total > 0 && !finished ? amount(current ?? 0, total) : "";
  }
}
