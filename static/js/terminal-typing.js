// What is typed and pasted into a pane: keys held on the key bar of a phone, and the guard before many lines.

import { ask } from "./ask.js";
import { gettext } from "./i18n.js";
import { controlled, keySequence, lineCount, pasteable } from "./terminal-keys.js";
import { toast } from "./toast.js";

const HELD = { Control: "ctrl", Alt: "alt" };

export class Typing {
  constructor(pane) {
    this.term = pane.screen.term;
    this.session = pane.session;
    this.keys = pane.element.querySelector(".key-bar");
    this.held = { ctrl: false, alt: false };
    this.term.onData((text) => this.type(text));
    this.term.onBinary((text) => {
      if (!this.term.options.disableStdin) this.session.send(Uint8Array.from(text, (char) => char.charCodeAt(0)));
    });
    pane.part("screen").addEventListener("paste", (event) => {
      event.preventDefault();
      event.stopPropagation();
      this.paste(event.clipboardData?.getData("text/plain") ?? "");
    }, { capture: true });
    this.keys.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) this.press(button.dataset.key);
    });
  }

  type(text) {
    if (this.term.options.disableStdin) return;
    let typed = text;
    if (this.held.ctrl && typed.length === 1) typed = controlled(typed);
    if (this.held.alt && typed.length === 1) typed = `\x1b${typed}`;
    this.letGo();
    this.session.send(typed);
  }

  // A key of the key bar.
  press(key) {
    if (key in HELD) return this.hold(key, !this.held[HELD[key]]);
    if (key === "Paste") return this.pasteFromClipboard();
    const sequence = keySequence(key, { application: this.term.modes.applicationCursorKeysMode, ...this.held });
    this.letGo();
    if (!this.term.options.disableStdin) this.session.send(sequence);
  }

  hold(key, on) {
    this.held[HELD[key]] = on;
    this.keys.querySelector(`[data-key="${key}"]`).setAttribute("aria-pressed", String(on));
  }

  letGo() {
    for (const key of Object.keys(HELD)) this.hold(key, false);
  }

  async paste(text) {
    const clean = pasteable(text);
    if (!clean || this.term.options.disableStdin) return;
    const lines = lineCount(clean);
    const guarded = lines > 1 || clean.endsWith("\n");
    if (guarded && !this.term.modes.bracketedPasteMode) {
      const sure = await ask("ask-paste", { count: lines, text: clean.slice(0, 4000) });
      if (!sure) return this.term.focus();
    }
    this.term.paste(clean);
    this.term.focus();
  }

  async pasteFromClipboard() {
    try {
      await this.paste(await navigator.clipboard.readText());
    } catch {
      toast(gettext("The browser did not let this page read the clipboard. Use its own paste."), "warn");
    }
  }
}
