// Text to the clipboard, also where the page is not served over TLS and the clipboard API is missing.

import { gettext } from "./i18n.js";
import { toast } from "./toast.js";

export async function copyText(text, said = gettext("Copied")) {
  const done = navigator.clipboard ? await write(text) : byHand(text);
  toast(done ? said : gettext("The browser did not allow copying"), done ? "ok" : "bad");
  return done;
}

async function write(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return byHand(text);
  }
}

function byHand(text) {
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "sr";
  const before = document.activeElement;
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  before?.focus?.();
  return done;
}

export function saveText(text, filename, type = "text/plain") {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(Array.isArray(text) ? text : [text], { type }));
  link.download = filename;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
