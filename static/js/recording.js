// Plays one recording with asciinema's player.

const root = document.querySelector("[data-player]");

globalThis.AsciinemaPlayer.create(root.dataset.player, root, {
  cols: Number(root.dataset.columns),
  rows: Number(root.dataset.rows),
  fit: "both",
  idleTimeLimit: 2,
  preload: true,
  terminalFontFamily: getComputedStyle(document.documentElement).getPropertyValue("--mono").trim(),
});
