// How serious a line says it is: "error", "warn", "info" or "debug"; "" when it does not say.

import { plain } from "./ansi.js";

const HEAD_CHARS = 400; // where a line says it
const WORDS = [
  ["error", /\b(?:fatal|panic|critical|crit|emerg|alert|error|err|exception|traceback|severe)\b|^E\d{4}\b/i],
  ["warn", /\b(?:warn|warning)\b|^W\d{4}\b/i],
  ["debug", /\b(?:debug|trace|verbose)\b/i],
  ["info", /\b(?:info|notice)\b|^I\d{4}\b/i],
];
const NAMED = /["']?\b(?:level|lvl|severity|log\.level)["']?\s*[=:]\s*["']?(\w+)/i;

export function levelOf(text) {
  const head = plain(text.slice(0, HEAD_CHARS));
  const named = NAMED.exec(head)?.[1];
  return level(named ?? head);
}

const level = (words) => WORDS.find(([, pattern]) => pattern.test(words))?.[0] ?? "";
