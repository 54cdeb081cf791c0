// Marks that turn the direction of what stands around them, written out: "gnp.exe" after U+202E reads "exe.png".
// Joiners stay, as scripts and pictures need them. Pure.

const TURNING = /[\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

export const written = (text) =>
  text.replace(TURNING, (mark) => `⟨U+${mark.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);
