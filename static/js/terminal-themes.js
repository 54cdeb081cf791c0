// Colours of the terminal's screen. Pure.

const dark = {
  background: "#0b0e13", foreground: "#d8dee6", cursor: "#d8dee6", cursorAccent: "#0b0e13",
  selectionBackground: "#2f5c96", selectionInactiveBackground: "#2a3a4d",
  black: "#2a323c", red: "#ff7b72", green: "#56d08a", yellow: "#e3b341", blue: "#79b8ff", magenta: "#d2a8ff", cyan: "#56d4dd", white: "#c9d1d9",
  brightBlack: "#7d8794", brightRed: "#ffa198", brightGreen: "#7ee2a8", brightYellow: "#f2cc60", brightBlue: "#a5d0ff", brightMagenta: "#e2c5ff", brightCyan: "#8ae6ed", brightWhite: "#ffffff",
};

const light = {
  background: "#ffffff", foreground: "#1d2733", cursor: "#1d2733", cursorAccent: "#ffffff",
  selectionBackground: "#b6d4fb", selectionInactiveBackground: "#dde5ee",
  black: "#1d2733", red: "#b3261e", green: "#16703c", yellow: "#7a5600", blue: "#1559b3", magenta: "#7c3aa8", cyan: "#0b6a75", white: "#5b6672",
  brightBlack: "#6b7682", brightRed: "#c7362c", brightGreen: "#1b8047", brightYellow: "#8a6200", brightBlue: "#1f68cc", brightMagenta: "#8f4bbd", brightCyan: "#0d7986", brightWhite: "#303b47",
};

const contrast = {
  ...dark,
  background: "#000000", foreground: "#ffffff", cursor: "#ffff00", cursorAccent: "#000000",
  selectionBackground: "#005fb8", selectionInactiveBackground: "#333333",
  black: "#000000", white: "#ffffff", brightBlack: "#a0a0a0",
};

const warm = {
  ...dark,
  background: "#241f1a", foreground: "#e6d9c6", cursor: "#f0b860", cursorAccent: "#241f1a",
  selectionBackground: "#5f4a2c", selectionInactiveBackground: "#3d342a",
  black: "#3a3129", red: "#f2806b", green: "#a9c46c", yellow: "#e8b65a", blue: "#8fb6d4", magenta: "#d49ac0", cyan: "#7fc4b0", white: "#d9ccb9",
};

export const THEMES = { dark, light, contrast, warm };
export const themeOf = (name) => THEMES[name] ?? dark;
