// How much each volume of the list takes. Measuring may take seconds, so it is asked for beside the page.

import { size } from "./format.js";

const FRESH_MS = 15_000; // after that a list that came again is measured again
const known = new Map(); // name -> bytes; -1: not the engine's to count
let asked = -Infinity;

function show() {
  for (const cell of document.querySelectorAll("[data-size-of]")) {
    const bytes = known.get(cell.dataset.sizeOf);
    if (bytes !== undefined) cell.textContent = bytes < 0 ? "–" : size(bytes);
  }
}

async function measure() {
  show();
  const url = document.querySelector("[data-sizes]")?.dataset.sizes;
  if (!url || performance.now() - asked < FRESH_MS) return;
  asked = performance.now();
  try {
    const response = await fetch(url, { headers: { Accept: "application/json" } });
    const { sizes = {} } = response.ok ? await response.json() : {};
    known.clear();
    for (const [name, bytes] of Object.entries(sizes)) known.set(name, bytes);
  } catch {
    return; // the next list asks again
  }
  show();
}

document.addEventListener("webdock:swapped", measure);
measure();
