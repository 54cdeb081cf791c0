// One terminal on the page: puts its parts together, and what its buttons, menu and keys do.

import { post, say } from "./actions.js";
import { ask } from "./ask.js";
import { copyText } from "./copy.js";
import { clone, place } from "./dom.js";
import { gettext, interpolate } from "./i18n.js";
import { placeBeside, walkable } from "./menu.js";
import { Bar } from "./terminal-bar.js";
import { Drop } from "./terminal-drop.js";
import { Find } from "./terminal-find.js";
import { chosen, fontSize, Screen } from "./terminal-screen.js";
import { Session } from "./terminal-session.js";
import { Typing } from "./terminal-typing.js";
import { toast } from "./toast.js";

const KEYS = { F: "find", C: "copy", ENTER: "fullscreen", "+": "bigger", _: "smaller" }; // with Ctrl and Shift
const STAYS = ["bigger", "smaller"]; // items after which the menu stays open
const ELSEWHERE = [...STAYS, "settings", "find", "find-on", "find-back", "find-close", "split", "close"]; // the focus

export class Pane {
  // deck: {root, panes, keep(), offer(shells), split(), choose(name, value), setFont(px), close(pane)}
  constructor(deck) {
    this.deck = deck;
    this.element = clone("pane");
    this.menu = this.part("menu");
    deck.root.append(this.element);
    walkable(this.menu);
    this.bar = new Bar(this);
    this.session = new Session(this);
    this.screen = new Screen(this, { bounds: () => this.session.bounds(), roomy: () => this.session.sendSize() });
    this.session.show();
    this.typing = new Typing(this);
    this.find = new Find(this);
    this.drop = new Drop(this);
    this.screen.fit();
    this.listen();
  }

  part(name) {
    return this.element.querySelector(`[data-${name}]`);
  }

  button(name) {
    return this.element.querySelector(`[data-do="${name}"]`);
  }

  focus() {
    this.screen.term.focus();
  }

  async do(name, button) {
    const act = {
      resume: () => this.session.resume(button.dataset),
      find: () => this.find.toggle(),
      "find-on": () => this.find.next(1),
      "find-back": () => this.find.next(-1),
      "find-close": () => this.find.show(false),
      smaller: () => this.deck.setFont(fontSize() - 1),
      bigger: () => this.deck.setFont(fontSize() + 1),
      copy: () => this.copySelection(),
      paste: () => this.typing.pasteFromClipboard(),
      clear: () => this.screen.term.clear(),
      reader: () => this.deck.choose("reader", chosen("reader") ? null : "1"),
      "copy-on-select": () => this.deck.choose("copy-on-select", chosen("copy-on-select") ? null : "1"),
      theme: () => this.deck.choose("theme", button.dataset.theme),
      share: () => this.share(),
      unshare: () => this.unshare(button.dataset.user),
      record: () => this.record(),
      fullscreen: () => this.fullScreen(),
      split: () => this.deck.split(),
      close: () => this.deck.close(this),
      attach: () => this.session.open("attach"),
      shell: () => this.session.open("shell", button?.dataset.command ? { command: button.dataset.command } : {}),
      control: () => this.takeControl(),
      end: () => this.end(),
      settings: () => this.showMenu(),
    }[name];
    await act?.();
    // A phone's keyboard would come up; there nothing took the focus from where it was.
    if (!ELSEWHERE.includes(name) && !matchMedia("(pointer: coarse)").matches) this.focus();
  }

  // An item for each of the shells the container has; one alone needs no choice.
  offer(shells) {
    for (const item of this.menu.querySelectorAll("[data-command]")) item.remove();
    this.button("shell").hidden = shells.length > 1;
    if (shells.length < 2) return;
    const items = shells.map((path) => {
      const item = this.button("shell").cloneNode(true);
      item.hidden = false;
      item.dataset.command = path;
      item.lastChild.textContent = interpolate(gettext("New %s"), [path.split("/").pop()]);
      return item;
    });
    this.button("shell").after(...items);
  }

  showMenu() {
    if (this.menu.matches(":popover-open")) return this.menu.hidePopover();
    this.menu.showPopover();
    placeBeside(this.menu, this.button("settings"));
    // A phone's keyboard would go, and the page move under the menu.
    if (!matchMedia("(pointer: coarse)").matches) this.menu.querySelector("button").focus();
  }

  async fullScreen() {
    if (document.fullscreenElement) await document.exitFullscreen();
    else {
      await this.element.requestFullscreen();
      navigator.keyboard?.lock?.(["Escape"]).catch(() => {}); // for the program; held down it leaves full screen
    }
  }

  async takeControl() {
    if (!(await ask("ask-control", { name: this.deck.root.dataset.name }))) return;
    this.session.line?.tell({ type: "control" });
  }

  async end() {
    if (!(await ask("ask-end", { name: this.deck.root.dataset.name }))) return;
    this.session.line?.tell({ type: "end" });
  }

  async share() {
    const { session, title } = this.session.about;
    const link = new URL(place(`containers/${this.deck.root.dataset.terminals}/terminal/?session=${session}`), location.href);
    const answer = await ask("ask-share", { name: title, link: link.href });
    if (answer) say(await post(place(`terminals/${session}/share/`), answer));
  }

  // Whoever it is, is out at once.
  async unshare(user) {
    say(await post(place(`terminals/${this.session.about.session}/unshare/`), new URLSearchParams({ user })));
  }

  async record() {
    const on = this.element.hasAttribute("data-recording");
    say(await post(place(`terminals/${this.session.about.session}/record/`), new URLSearchParams({ on: on ? "" : "on" })));
  }

  copySelection() {
    const text = this.screen.term.getSelection();
    if (text) copyText(text);
    else toast(gettext("Nothing is selected."));
  }

  // Once the mouse lets go of a selection; a match that was found is selected, too, and is not copied.
  copyOnSelect() {
    const text = chosen("copy-on-select") && this.screen.term.getSelection();
    if (text) copyText(text, "");
  }

  // Keys of ours; everything else belongs to the program in the container.
  key(event) {
    if (event.type !== "keydown" || !event.ctrlKey || !event.shiftKey || event.altKey || event.metaKey) return true;
    if (event.key.toUpperCase() === "V") return false; // the browser pastes by itself, and asks nobody
    const name = KEYS[event.key.toUpperCase()];
    if (!name) return true;
    event.preventDefault();
    this.do(name);
    return false;
  }

  listen() {
    const { term } = this.screen;
    term.onTitleChange((text) => this.bar.title(text));
    this.part("screen").addEventListener("pointerdown", ({ button }) => {
      if (button === 0) addEventListener("mouseup", () => setTimeout(() => this.copyOnSelect()), { once: true });
    });
    term.attachCustomKeyEventHandler((event) => this.key(event));
    this.element.addEventListener("click", (event) => {
      const button = event.target.closest("button[data-do]");
      if (!button) return;
      if (button.closest("[data-menu]") && !STAYS.includes(button.dataset.do)) this.menu.hidePopover();
      this.do(button.dataset.do, button);
    });
    for (const part of [this.element.querySelector(".key-bar"), this.part("note"), this.element.querySelector(".panel-head")]) {
      // The on-screen keyboard stays, and on a phone, where the focus makes room, nothing moves under a finger.
      part.addEventListener("pointerdown", (event) => event.target.closest("button") && event.preventDefault());
    }
  }

  close() {
    this.session.close();
    this.screen.close();
    this.element.remove();
  }
}
