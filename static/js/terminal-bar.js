// What stands around a pane's screen: title, state of the line, who is there, a note, and which buttons make sense.

import { make } from "./dom.js";
import { gettext } from "./i18n.js";

const TITLE_MAX_CHARS = 120;

export class Bar {
  constructor(pane) {
    this.pane = pane;
  }

  state(tone, words, more = "") {
    const element = this.pane.part("line-state");
    element.dataset.tone = tone;
    element.textContent = words;
    element.title = more;
  }

  title(text) {
    this.pane.part("title").textContent = (text || gettext("Terminal")).slice(0, TITLE_MAX_CHARS);
  }

  // A line between bar and screen, with one thing to do about it; without text it goes away.
  note(tone, text, button, act) {
    const element = this.pane.part("note");
    element.hidden = !text;
    if (!text) return;
    element.dataset.tone = tone;
    this.pane.part("note-text").textContent = text;
    const action = this.pane.part("note-action");
    action.hidden = !button;
    action.textContent = button ?? "";
    action.onclick = act ?? null;
  }

  people(people, typist) {
    const place = this.pane.part("people");
    place.hidden = people.length < 2;
    place.replaceChildren(...people.map(({ name, types }) => {
      const words = types ? (name === typist ? gettext("typed last") : gettext("may type")) : gettext("looks on");
      const chip = make("span", "chip", make("bdi", "", name), ` ${words}`);
      chip.toggleAttribute("data-typed", name === typist);
      return chip;
    }));
  }

  recording(on) {
    this.pane.element.toggleAttribute("data-recording", on);
    this.pane.part("recording").hidden = !on;
    this.pane.button("record")?.setAttribute("aria-checked", String(on));
  }

  // about: the session that is shown, null without one
  mode({ about, watching, over }) {
    this.pane.element.dataset.mode = watching ? "watch" : "type";
    const { kind, own = true, may = true } = about ?? {};
    this.pane.button("control").hidden = kind !== "attach" || !may || !watching || over;
    for (const name of ["end", "share", "record"]) {
      const button = this.pane.button(name);
      if (button) button.hidden = over || !about || !own || (name === "end" && watching);
    }
  }
}
