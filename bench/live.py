"""From a change in the engine to two open pages: ``pause`` until the row's new state stands in both; and what
a page of running containers costs the browser and the web process each second."""

from __future__ import annotations

import json
import time

import psutil
from playwright.sync_api import Browser, Page, sync_playwright

from bench._login import Session
from bench._measure import table
from tests.integration.installation import Installation

ROUNDS = 30
LIVE_ROWS = 50  # running, each with gauges; a page shows no more
LIVE_S = 20
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


def opened(browser: Browser, ours: Installation, session: Session) -> Page:
    context = browser.new_context(base_url=ours.url)
    context.add_cookies([{"name": c.name, "value": c.value or "", "url": ours.url} for c in session.cookies])
    page = context.new_page()
    page.goto("/containers/")
    page.wait_for_selector("tr[data-name=watched][data-state=running]")
    return page


def seconds(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def costs(browser: Browser, ours: Installation, page: Page) -> None:
    """Print what the open page uses while every row's gauges move and one row a second changes its state."""
    pid = json.loads((ours.home / "up.lock").read_text())["pid"]
    web = [one for one in psutil.Process(pid).children(True) if "engine" not in " ".join(one.cmdline())]
    pid = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"][0]["id"]
    chromium = [psutil.Process(pid), *psutil.Process(pid).children(True)]
    page.wait_for_selector("tr[data-name=watched] [data-gauge=cpu] svg")
    before = seconds(web), seconds(chromium)
    began = time.monotonic()
    for number in range(LIVE_S):
        ours.client.post(f"/containers/watched/{('pause', 'unpause')[number % 2]}")
        time.sleep(max(0.0, began + number + 1 - time.monotonic()))
    took = time.monotonic() - began
    for what, used, was in zip(
        ("web process", "browser"), (seconds(web), seconds(chromium)), before, strict=True
    ):
        print(f"{LIVE_ROWS} live rows on two pages: {what} {100 * (used - was) / took:.1f} % of one core")


def main() -> None:
    ours = Installation("bench")
    try:
        ours.up()
        client = ours.client
        for number in range(LIVE_ROWS - 1):
            ours.docker("run", "-d", "--name", f"other-{number}", "webdock/busybox", "sleep", "10000")
        ours.docker("run", "-d", "--name", "watched", "webdock/busybox", "sleep", "10000")
        session = Session(ours)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path="/usr/bin/chromium",
                args=["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"],
            )
            pages = opened(browser, ours, session), opened(browser, ours, session)
            time.sleep(1)  # the sockets are open and have sent their first rows
            costs(browser, ours, pages[0])
            for page in pages:
                page.evaluate(WATCHED, "watched")
            waits: dict[str, list[float]] = {
                "state change to page": [],
                "to the other page": [],
                "the call itself": [],
            }
            for number in range(ROUNDS):
                verb, state = (("pause", "paused"), ("unpause", "running"))[number % 2]
                asked = time.time()
                client.post(f"/containers/watched/{verb}")
                waits["the call itself"].append(time.time() - asked)
                for page, what in zip(pages, waits, strict=False):
                    page.wait_for_selector(f"tr[data-name=watched][data-state={state}]")
                    seen = page.evaluate("window.changes.at(-1)")
                    waits[what].append(seen["at"] / 1000 - asked)
                time.sleep(0.2)
            browser.close()
        table("a state change, from asking the engine until it stands on two open pages", waits)
    finally:
        ours.purge()


if __name__ == "__main__":
    main()
