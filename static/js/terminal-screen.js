// A pane's screen: xterm with what belongs to it, its size, its text and its colours. It decodes the bytes, so a
// character cut by a frame is whole again.

import { Terminal } from "../vendor/xterm/xterm.mjs";
import { FitAddon } from "../vendor/xterm/addon-fit.mjs";
import { UnicodeGraphemesAddon } from "../vendor/xterm/addon-unicode-graphemes.mjs";
import { WebLinksAddon } from "../vendor/xterm/addon-web-links.mjs";
import { WebglAddon } from "../vendor/xterm/addon-webgl.mjs";
import { ask } from "./ask.js";
import { recall, remember } from "./dom.js";
import { themeOf } from "./terminal-themes.js";

const SCROLLBACK_LINES = 10_000;
const FONT_PX = { default: 13, min: 8, max: 28 };
const RESIZE_WAIT_MS = 60;

const openLink = (event, uri) => {
  if (!/^https?:\/\//i.test(uri)) return;
  event.preventDefault();
  window.open(uri, "_blank", "noopener,noreferrer");
};

// A link of the program's own (OSC 8) may say one address and lead to another: it is shown first, as the browser
// reads it, so that no mark of direction and no letter that looks like another changes what stands there.
async function openHidden(event, uri, term) {
  const url = /^https?:\/\//i.test(uri) && URL.canParse(uri) && new URL(uri);
  if (url && (await ask("ask-link", { text: url.href }))) openLink(event, url.href);
  term.focus();
}

const monospace = () => getComputedStyle(document.documentElement).getPropertyValue("--mono").trim();
const kept = (px) => Math.min(FONT_PX.max, Math.max(FONT_PX.min, px));

export const fontSize = () => kept(Number(recall("terminal-font")) || FONT_PX.default);
export const rememberFont = (px) => remember("terminal-font", kept(px) === FONT_PX.default ? null : String(kept(px)));
export const chosen = (name) => recall(`terminal-${name}`) === "1";

export class Screen {
  // bounds(): the size agreed with others, or undefined; roomy(): the pane has got room for another size
  constructor(pane, { bounds, roomy }) {
    this.pane = pane;
    this.place = pane.part("screen");
    this.bounds = bounds;
    this.roomy = roomy;
    this.term = new Terminal({
      allowProposedApi: true, // unicode versions and search decorations
      cursorBlink: !matchMedia("(prefers-reduced-motion: reduce)").matches,
      fontFamily: monospace(),
      fontSize: fontSize(),
      lineHeight: 1.15,
      linkHandler: { activate: (event, uri) => openHidden(event, uri, this.term) },
      macOptionIsMeta: true,
      minimumContrastRatio: 3,
      screenReaderMode: chosen("reader"),
      scrollback: SCROLLBACK_LINES,
      theme: themeOf(recall("terminal-theme")),
    });
    this.fitting = new FitAddon();
    this.term.loadAddon(this.fitting);
    this.term.loadAddon(new WebLinksAddon(openLink));
    this.term.loadAddon(new UnicodeGraphemesAddon());
    this.term.open(this.place);
    this.paint();
    this.drawFast();
    let frame = 0;
    this.watch = new ResizeObserver(() => {
      cancelAnimationFrame(frame);
      frame = requestAnimationFrame(() => this.fit());
    });
    this.watch.observe(this.place);
  }

  // WebGL where it is; a lost context (laptop sleep, too many tabs) falls back to the DOM without a word.
  drawFast() {
    try {
      const webgl = new WebglAddon();
      webgl.onContextLoss(() => webgl.dispose());
      this.term.loadAddon(webgl);
    } catch {
      // the DOM renderer is in place already
    }
  }

  // As large as the pane; when others type too, or one only looks on, as the smallest of those who type: then it
  // stands in the middle of the pane.
  fit() {
    if (this.place.clientWidth < 40 || this.place.clientHeight < 20) return;
    const room = this.fitting.proposeDimensions();
    if (!room || !room.cols || !room.rows) return;
    this.room = room;
    const { cols, rows } = this.bounds() ?? room;
    if (cols !== this.term.cols || rows !== this.term.rows) this.term.resize(cols, rows);
    this.pane.element.toggleAttribute("data-smaller", cols < room.cols || rows < room.rows);
    this.pane.part("grid").textContent = `${cols}×${rows}`;
    clearTimeout(this.resizing);
    this.resizing = setTimeout(this.roomy, RESIZE_WAIT_MS);
  }

  setFont(px) {
    this.term.options.fontSize = px;
    this.fit();
  }

  setReader(on) {
    this.term.options.screenReaderMode = on;
  }

  // more: colours of the moment that take the place of the theme's
  paint(more = {}) {
    const theme = { ...themeOf(recall("terminal-theme")), ...more };
    this.term.options.theme = theme;
    this.pane.element.style.setProperty("--screen", theme.background);
  }

  close() {
    this.watch.disconnect();
    this.term.dispose();
  }
}
