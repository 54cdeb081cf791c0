// What a program may ask its terminal, and who answers. Several browsers show one session, and an old screen is
// drawn again on return: then a question must not be answered twice, or a second time.

// Swallow questions of programs while muted() says so; otherwise xterm answers as ever.
export function muteAnswers(term, muted) {
  const { parser } = term;
  const questions = [
    { final: "c" }, { prefix: ">", final: "c" }, { prefix: "=", final: "c" }, // device attributes
    { final: "n" }, { prefix: "?", final: "n" }, // status and cursor position
    { intermediates: "$", final: "p" }, { prefix: "?", intermediates: "$", final: "p" }, // modes
    { final: "x" }, { final: "t" }, { prefix: ">", final: "q" }, // parameters, window, version
  ];
  for (const id of questions) parser.registerCsiHandler(id, () => muted());
  parser.registerDcsHandler({ intermediates: "$", final: "q" }, () => muted());
  parser.registerEscHandler({ final: "Z" }, () => muted());
  for (const id of [4, 10, 11, 12]) parser.registerOscHandler(id, (data) => data.includes("?") && muted());
}
