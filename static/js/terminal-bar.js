// What stands around a pane's screen: title, state of the line, who is there, a note, and which buttons make sense.

import { isolate, make } from "./dom.js";
import { gettext, interpolate, ngettext } from "./i18n.js";

const TITLE_MAX_CHARS = 120;

export class Bar {
  constructor(pane) {
    this.pane = pane;
  }

  state(tone, words, more = "") {
    const element = this.pane.part("line-state");
    element.dataset.tone = tone;
    if (element.textContent !== words) element.textContent = words; // a reader says each once
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

  // One chip a person, however many windows they have; the owner throws a guest out from here.
  people(people, typist, about) {
    const place = this.pane.part("people");
    place.hidden = people.length < 2;
    const persons = new Map();
    for (const { name, types } of people) {
      const { windows = 0, typing = false } = persons.get(name) ?? {};
      persons.set(name, { windows: windows + 1, typing: typing || types });
    }
    place.replaceChildren(...[...persons].map(([name, { windows, typing }]) => {
      const does = typing ? (name === typist ? gettext("typed last") : gettext("may type")) : gettext("looks on");
      const words = windows > 1 ? `${does} · ${interpolate(ngettext("%s window", "%s windows", windows), [windows])}` : does;
      const chip = make("span", "chip", make("bdi", "", name), make("span", "does", ` ${words}`));
      chip.toggleAttribute("data-typed", typing && name === typist);
      chip.title = `${isolate(name)}: ${words}`;
      if (about?.own && name !== about.owner) chip.append(this.takeBack(name));
      return chip;
    }));
  }

  takeBack(name) {
    const button = make("button", "chip-x", "×");
    Object.assign(button, { type: "button", title: gettext("Take the invitation back") });
    Object.assign(button.dataset, { do: "unshare", user: name });
    button.setAttribute("aria-label", interpolate(gettext("Take the invitation of %s back"), [isolate(name)]));
    return button;
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
