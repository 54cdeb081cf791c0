// "in 12 s": moments to come, counted down while nobody sends anything.

import { serverNow } from "./age.js";
import { gettext, interpolate } from "./i18n.js";

const EVERY_MS = 500;

function tick() {
  for (const element of document.querySelectorAll("[data-until]")) {
    const seconds = Math.ceil((Date.parse(element.dataset.until) - serverNow()) / 1000);
    const text = seconds > 0 ? interpolate(gettext("in %s s"), [seconds]) : gettext("any moment");
    if (element.textContent !== text) element.textContent = text;
  }
}

setInterval(tick, EVERY_MS);
tick();
