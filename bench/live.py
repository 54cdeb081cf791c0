"""From a change in the engine to the open page: ``pause`` until the row's new state stands in Chromium."""

from __future__ import annotations

import time

from playwright.sync_api import sync_playwright

from bench._login import Session
from bench._measure import table
from tests.integration.installation import Installation

ROUNDS = 30
WATCHED = """name => new Promise(done => {
  window.changes = [];
  const look = () => {
    const row = document.querySelector(`tr[data-name=${name}]`);
    const state = row ? row.dataset.state : "";
    const last = window.changes.at(-1);
    if (!last || last.state !== state) window.changes.push({state, at: Date.now()});
  };
  new MutationObserver(look).observe(document.body, {subtree: true, childList: true, attributes: true});
  look();
  done();
})"""


def main() -> None:
    ours = Installation("bench")
    try:
        ours.up()
        client = ours.client
        ours.docker("run", "-d", "--name", "watched", "webdock/busybox", "sleep", "10000")
        for number in range(40):
            client.post("/containers/create", {"name": f"other-{number}"}, {"Image": "webdock/busybox"})
        session = Session(ours)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path="/usr/bin/chromium",
                args=["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"],
            )
            context = browser.new_context(base_url=ours.url)
            context.add_cookies(
                [{"name": c.name, "value": c.value or "", "url": ours.url} for c in session.cookies]
            )
            page = context.new_page()
            page.goto("/containers/")
            page.wait_for_selector("tr[data-name=watched][data-state=running]")
            time.sleep(1)  # the socket is open and has sent its first rows
            page.evaluate(WATCHED, "watched")
            waits: dict[str, list[float]] = {"state change to page": [], "the call itself": []}
            for number in range(ROUNDS):
                verb, state = (("pause", "paused"), ("unpause", "running"))[number % 2]
                asked = time.time()
                client.post(f"/containers/watched/{verb}")
                waits["the call itself"].append(time.time() - asked)
                page.wait_for_selector(f"tr[data-name=watched][data-state={state}]")
                seen = page.evaluate("window.changes.at(-1)")
                waits["state change to page"].append(seen["at"] / 1000 - asked)
                time.sleep(0.2)
            browser.close()
        table("a state change, from asking the engine until it stands on an open page", waits)
    finally:
        ours.purge()


if __name__ == "__main__":
    main()
