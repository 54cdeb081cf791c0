// Finding words in a pane's screen and what scrolled out of it.

import { SearchAddon } from "../vendor/xterm/addon-search.mjs";
import { gettext, interpolate } from "./i18n.js";

const FOUND = { matchBackground: "#6b5200", matchOverviewRuler: "#e3b341", activeMatchColorOverviewRuler: "#ffffff" };
// The match one is at is selected, without the focus: its colours are those of such a selection.
const AT = { selectionInactiveBackground: "#b26a00", selectionForeground: "#ffffff" };

export class Find {
  constructor(pane) {
    this.screen = pane.screen;
    this.bar = pane.part("find-bar");
    this.field = pane.part("find");
    this.search = new SearchAddon({ highlightLimit: 500 });
    this.screen.term.loadAddon(this.search);
    this.search.onDidChangeResults(({ resultIndex, resultCount }) => {
      pane.part("found").textContent = resultCount ? interpolate(gettext("%(at)s of %(total)s"), { at: resultIndex + 1, total: resultCount }) : this.field.value ? gettext("nothing found") : "";
    });
    this.field.addEventListener("input", () => this.next(1));
    this.field.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.next(event.shiftKey ? -1 : 1);
      else if (event.key === "Escape") this.show(false);
      else return;
      event.preventDefault();
    });
  }

  toggle() {
    this.show(this.bar.hidden);
  }

  show(on) {
    this.bar.hidden = !on;
    this.screen.paint(on ? AT : {});
    if (on) {
      this.field.focus();
      this.field.select();
    } else {
      this.search.clearDecorations();
      this.screen.term.focus();
    }
    this.screen.fit();
  }

  next(by) {
    const words = this.field.value;
    const options = { decorations: FOUND };
    if (!words) return this.search.clearDecorations();
    if (by > 0) this.search.findNext(words, options);
    else this.search.findPrevious(words, options);
  }
}
