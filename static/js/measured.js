// What a page shows as "still being measured" is put in once the engine has said it.

import { load } from "./rows.js";

const LOOKS_MS = [300, 700, 1_500, 3_000, 6_000, 12_000, 24_000];

async function look(after) {
  for (const ms of after) {
    if (!document.querySelector("[data-measuring]")) return;
    await new Promise((resolve) => setTimeout(resolve, ms));
    await load(location.href, "stay", true);
  }
}

look(LOOKS_MS);
