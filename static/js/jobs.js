// Long jobs on every page: the count in the top bar, the panel behind it, and a page's own region of some kinds.
// The state comes from the socket, so it survives a reload and is the same for everybody.

import { post } from "./actions.js";
import { serverNow } from "./age.js";
import { fill, place } from "./dom.js";
import { gettext, interpolate } from "./i18n.js";
import { JobCard } from "./jobcard.js";
import { Link } from "./socket.js";
import { toast } from "./toast.js";

const DONE_STAYS_MS = 8_000; // in a page's region; the panel keeps it
const SHOWN_MAX = 20;
const NEWS_MS = 15 * 60_000; // older failures are in the panel alone

const button = document.querySelector("[data-jobs-button]");
const jobs = new Map(); // id -> the newest news

// A place where cards of some kinds stand; "" for all of them.
class Region {
  constructor(element, kinds, keepsDone) {
    Object.assign(this, { element, kinds, keepsDone });
    this.cards = new Map();
    this.dismissed = new Set();
    element.addEventListener("click", (event) => this.clicked(event));
  }

  show(job, before) {
    if (this.kinds.length && !this.kinds.includes(job.kind)) return;
    if (this.dismissed.has(job.id)) return;
    if (!this.keepsDone && !before && !isNews(job)) return;
    const card = this.cards.get(job.id);
    if (card) card.draw(job);
    else {
      const made = new JobCard(job);
      this.cards.set(job.id, made);
      const next = [...this.element.children].find((one) => jobs.get(one.dataset.id)?.started < job.started);
      this.element.insertBefore(made.element, next ?? null);
    }
    if (!this.keepsDone && before === "running" && job.state === "done") setTimeout(() => this.dismiss(job.id), DONE_STAYS_MS);
  }

  dismiss(id) {
    this.dismissed.add(id);
    this.drop(id);
  }

  drop(id) {
    this.cards.get(id)?.element.remove();
    this.cards.delete(id);
  }

  clicked(event) {
    const pressed = event.target.closest("button");
    const id = pressed?.closest("[data-id]")?.dataset.id;
    if (!id) return;
    if ("dismiss" in pressed.dataset) {
      this.dismiss(id);
      count();
    } else if ("cancelJob" in pressed.dataset) cancel(pressed, id);
    else if ("again" in pressed.dataset) {
      this.dismiss(id);
      document.dispatchEvent(new CustomEvent("webdock:pull-again", { detail: jobs.get(id).subject }));
    }
  }
}

const isNews = ({ state, ended }) => state === "running" || (state === "failed" && serverNow() - Date.parse(ended) < NEWS_MS);

const panel = document.querySelector("[data-jobs]");
const regions = [];
if (panel) regions.push(new Region(panel, [], true));
for (const element of document.querySelectorAll("[data-jobs-of]")) regions.push(new Region(element, element.dataset.jobsOf.split(" "), false));

async function cancel(pressed, id) {
  pressed.setAttribute("aria-busy", "true");
  const answer = await post(place(`jobs/${id}/cancel/`));
  pressed.removeAttribute("aria-busy");
  if (!answer.ok) toast(answer.message || gettext("The job could not be cancelled."), "bad");
}

function take(job) {
  const before = jobs.get(job.id)?.state;
  jobs.set(job.id, job);
  for (const region of regions) region.show(job, before);
  if (before === "running" && job.state !== "running") finished(job);
}

function finished(job) {
  const words = job.message || interpolate(gettext("%s: %s"), [job.kind_word, job.name]);
  if (job.state === "done") toast(interpolate(gettext("%s: done. %s"), [`${job.kind_word} ${job.name}`, job.message]).trim(), "ok");
  else if (job.state === "failed") toast(words, "bad");
  document.dispatchEvent(new CustomEvent("webdock:stale"));
  document.dispatchEvent(new CustomEvent("webdock:job-ended", { detail: job }));
}

function count() {
  const running = [...jobs.values()].filter(({ state }) => state === "running").length;
  const badge = button.querySelector("[data-jobs-count]");
  badge.textContent = running || "";
  badge.hidden = !running;
  button.toggleAttribute("data-busy", running > 0);
  button.setAttribute("aria-label", running ? fill(button.dataset.words, { n: running }) : button.dataset.name);
  document.querySelector("[data-jobs-none]").hidden = panel.childElementCount > 0;
}

function forget() {
  const old = [...jobs.values()].filter(({ state }) => state !== "running").sort((one, other) => (one.started < other.started ? 1 : -1));
  for (const { id } of old.slice(SHOWN_MAX)) {
    jobs.delete(id);
    for (const region of regions) region.drop(id);
  }
}

if (button) {
  new Link("ws/jobs/", {
    text(message) {
      if (message.type === "jobs") {
        const ids = new Set(message.jobs.map(({ id }) => id));
        for (const id of [...jobs.keys()]) {
          if (ids.has(id)) continue;
          jobs.delete(id);
          for (const region of regions) region.drop(id);
        }
        for (const job of message.jobs) take(job);
      } else if (message.type === "job") take(message);
      forget();
      count();
    },
  }, { banner: false });
  count();
}
