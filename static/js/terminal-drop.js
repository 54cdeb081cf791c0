// Files dropped on a pane are brought into its container, into the directory where the shell is.

import { post, say } from "./actions.js";
import { ask } from "./ask.js";
import { gettext, interpolate } from "./i18n.js";
import { toast } from "./toast.js";

// The files of a drop; directories come without what is in them, and are said to be left.
function filesOf({ items }) {
  const files = [...items].filter(({ kind }) => kind === "file");
  const left = files.filter((item) => item.webkitGetAsEntry?.()?.isDirectory);
  for (const item of left) toast(interpolate(gettext("%s is a directory: only files can be brought in."), [item.getAsFile().name]), "warn");
  return files.filter((item) => !left.includes(item)).map((item) => item.getAsFile());
}

export class Drop {
  constructor(pane) {
    this.pane = pane;
    pane.screen.term.parser.registerOscHandler(7, (text) => this.noteDirectory(text));
    const place = pane.part("screen");
    place.addEventListener("dragover", (event) => {
      if (![...event.dataTransfer.items].some(({ kind }) => kind === "file")) return;
      event.preventDefault();
      pane.element.dataset.drop = "";
    });
    for (const name of ["dragleave", "drop"]) place.addEventListener(name, () => delete pane.element.dataset.drop);
    place.addEventListener("drop", (event) => {
      event.preventDefault();
      if (this.pane.session.watching) toast(gettext("Who looks on brings nothing in here: the Files tab does."), "warn");
      else this.bringIn(filesOf(event.dataTransfer));
    });
  }

  // Where the shell is, when it says so: file://host/path.
  noteDirectory(text) {
    const path = /^file:\/\/[^/]*(\/[^\0]*)$/.exec(text)?.[1];
    try {
      if (path) this.directory = decodeURIComponent(path);
    } catch {
      // not a path after all
    }
    return true;
  }

  async bringIn(files) {
    const { session, deck, screen } = this.pane;
    if (!files.length || session.over) return;
    const names = files.map(({ name }) => name).join(", ");
    const path = (await session.where()) ?? this.directory ?? deck.root.dataset.directory;
    const answer = await ask("ask-upload", { name: names.slice(0, 200), path });
    if (!answer) return screen.term.focus();
    for (const file of files) {
      const form = new FormData();
      form.set("path", answer.get("path"));
      form.set("file", file);
      say(await post(deck.root.dataset.upload, form));
    }
    screen.term.focus();
  }
}
