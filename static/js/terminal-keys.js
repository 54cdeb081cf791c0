// What the key bar of a phone sends, and what may be pasted. Pure.

const ARROWS = { ArrowUp: "A", ArrowDown: "B", ArrowRight: "C", ArrowLeft: "D" };

// The bytes of a key as a terminal sends them; application is the cursor key mode vim and less switch on.
export function keySequence(key, { application = false, ctrl = false, alt = false } = {}) {
  const escape = alt ? "\x1b" : "";
  if (key in ARROWS) {
    if (ctrl || alt) return `\x1b[1;${ctrl && alt ? 7 : ctrl ? 5 : 3}${ARROWS[key]}`;
    return `\x1b${application ? "O" : "["}${ARROWS[key]}`;
  }
  if (key === "Escape") return `${escape}\x1b`;
  if (key === "Tab") return `${escape}\t`;
  return escape + (ctrl ? controlled(key) : key);
}

// "c" with Ctrl held is 0x03; characters without a control form stay as they are.
export function controlled(text) {
  const code = text.toUpperCase().codePointAt(0);
  if (text === " ") return "\0";
  if (text === "?") return "\x7f";
  return code >= 64 && code <= 95 ? String.fromCharCode(code & 31) : text;
}

// Pasted text must not carry keys of its own: escapes could end the bracket a program put around it.
export const pasteable = (text) => text.replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]/g, "").replace(/\r\n?/g, "\n");

export const lineCount = (text) => text.replace(/\n$/, "").split("\n").length;
