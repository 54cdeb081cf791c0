// SGR colours of one log line as parts with classes; every other control sequence is dropped. Pure.
// A part is {text, classes, fg, bg}; fg and bg are CSS colours for the 256 and true colour forms.

import { written } from "./signs.js";

const PLAIN = Object.freeze({ flags: 0, f: -1, b: -1, fg: "", bg: "" });
const FLAGS = { 1: 1, 2: 2, 3: 4, 4: 8, 7: 16, 9: 32 };
const CLASS_OF = [["a1", 1], ["a2", 2], ["a3", 4], ["a4", 8], ["a9", 32]];
// CSI …; OSC … BEL/ST; DCS, SOS, PM, APC … ST; two-byte escapes; the other C0 and C1 controls but tab.
const CONTROL =
  /\x1b\[([0-?]*)[ -/]*([@-~])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[PX^_][^\x1b]*(?:\x1b\\)?|\x1b[ -/]*[0-~]?|[\x00-\x08\x0b-\x1f\x7f-\x9f]/g;
const CUBE = [0, 95, 135, 175, 215, 255];

function colour256(n) {
  if (n < 232) {
    const at = n - 16;
    return `rgb(${CUBE[Math.floor(at / 36)]} ${CUBE[Math.floor(at / 6) % 6]} ${CUBE[at % 6]})`;
  }
  const grey = 8 + (n - 232) * 10;
  return `rgb(${grey} ${grey} ${grey})`;
}

function extended(codes, at) {
  if (codes[at + 1] === 5) {
    const n = codes[at + 2] ?? 0;
    if (n < 0 || n > 255) return { skip: 2 };
    return n < 16 ? { skip: 2, index: n } : { skip: 2, colour: colour256(n) };
  }
  if (codes[at + 1] === 2) {
    const [r, g, b] = [codes[at + 2], codes[at + 3], codes[at + 4]].map((value) => Math.min(255, value || 0));
    return { skip: 4, colour: `rgb(${r} ${g} ${b})` };
  }
  return { skip: 0 };
}

export function restyled(style, parameters) {
  const codes = parameters === "" ? [0] : parameters.split(/[;:]/).map((code) => Number(code) || 0);
  let next = { ...style };
  for (let at = 0; at < codes.length; at += 1) {
    const code = codes[at];
    if (code === 0) next = { ...PLAIN };
    else if (code in FLAGS) next.flags |= FLAGS[code];
    else if (code === 22) next.flags &= ~3;
    else if (code === 23) next.flags &= ~4;
    else if (code === 24) next.flags &= ~8;
    else if (code === 27) next.flags &= ~16;
    else if (code === 29) next.flags &= ~32;
    else if (code >= 30 && code <= 37) Object.assign(next, { f: code - 30, fg: "" });
    else if (code >= 90 && code <= 97) Object.assign(next, { f: code - 82, fg: "" });
    else if (code === 39) Object.assign(next, { f: -1, fg: "" });
    else if (code >= 40 && code <= 47) Object.assign(next, { b: code - 40, bg: "" });
    else if (code >= 100 && code <= 107) Object.assign(next, { b: code - 92, bg: "" });
    else if (code === 49) Object.assign(next, { b: -1, bg: "" });
    else if (code === 38 || code === 48) {
      const { skip, index = -1, colour = "" } = extended(codes, at);
      Object.assign(next, code === 38 ? { f: index, fg: colour } : { b: index, bg: colour });
      at += skip;
    }
  }
  return next;
}

function classes({ flags, f, b }) {
  const found = [];
  for (const [name, bit] of CLASS_OF) if (flags & bit) found.push(name);
  const reverse = flags & 16;
  const [front, back] = reverse ? [b < 0 ? 0 : b, f < 0 ? 7 : f] : [f, b];
  if (front >= 0) found.push(`f${front}`);
  if (back >= 0) found.push(`b${back}`);
  return found.join(" ");
}

// [parts, style at the end of the line]; styles run on over lines as they do on a terminal.
export function parseAnsi(text, style = PLAIN) {
  if (!/[\x00-\x08\x0b-\x1f\x7f-\x9f]/.test(text)) return [part(text, style), style];
  const parts = [];
  let from = 0;
  CONTROL.lastIndex = 0;
  for (let found = CONTROL.exec(text); found; found = CONTROL.exec(text)) {
    if (found.index > from) parts.push(...part(text.slice(from, found.index), style));
    from = CONTROL.lastIndex;
    if (found[2] === "m" && !/[<-?]/.test(found[1])) style = restyled(style, found[1]);
  }
  if (from < text.length) parts.push(...part(text.slice(from), style));
  return [parts, style];
}

const part = (text, style) => (text ? [{ text: written(text), classes: classes(style), fg: style.fg, bg: style.bg }] : []);

export const plain = (text) => text.replace(CONTROL, "");
