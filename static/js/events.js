// The timeline stays at the newest: what happened is a reason to fetch the page's list again.

import { Link } from "./socket.js";

const stale = () => document.dispatchEvent(new CustomEvent("webdock:stale"));

let followed = false;
new Link("ws/events/", {
  text(message) {
    if (message.type === "news" || followed) stale(); // followed again: what happened meanwhile nobody told
    followed ||= message.type === "following";
  },
});

const form = document.querySelector("[data-events-filter]");
form?.addEventListener("change", () => form.requestSubmit());
