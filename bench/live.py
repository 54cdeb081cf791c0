"""What open pages cost, and how late they are: 200 running containers on four open pages, each row's ages
every second and its gauges every other one, one changing its state each second; then from a change in the
engine, ``pause``, until the row's new state stands on two pages, in its parts."""

from __future__ import annotations

import time

import psutil
from playwright.sync_api import Browser, Page, sync_playwright

from bench._login import Session
from bench._measure import table
from tests.integration.installation import Installation

ROUNDS = 30
LIVE_ROWS = 200  # running, each with gauges
PAGE_ROWS = 50
GAUGES_TIMEOUT_MS = 120_000
WEB_AIM, BROWSER_AIM = 10, 15  # percent of one core
LIVE_S = 20
HEARD = """
  window.heard = [];
  window.WebSocket = class extends WebSocket {
    constructor(...all) {
      super(...all);
      this.addEventListener("message", ({data}) => {
        if (typeof data === "string" && data.includes('"type":"rows"')) window.heard.push(Date.now());
      });
    }
  };
"""
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


def opened(browser: Browser, ours: Installation, session: Session, number: int = 1) -> Page:
    """A page of the list in a window of its own, its rows' gauges drawn."""
    context = browser.new_context(base_url=ours.url)
    context.add_init_script(HEARD)
    context.add_cookies([{"name": c.name, "value": c.value or "", "url": ours.url} for c in session.cookies])
    page = context.new_page()
    page.goto(f"/containers/?page={number}")
    page.wait_for_selector("tr[data-state=running] [data-gauge=cpu] svg", timeout=GAUGES_TIMEOUT_MS)
    return page


def seconds(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def costs(browser: Browser, ours: Installation) -> None:
    """Print what the open pages use while every row's gauges move and one row a second changes its state."""
    pid = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"][0]["id"]
    all_of = {
        "web process": [psutil.Process(ours.web_pid())],
        "browser": [psutil.Process(pid), *psutil.Process(pid).children(True)],
        "engine": [psutil.Process(ours.engine_pid())],
    }
    before = {what: seconds(processes) for what, processes in all_of.items()}
    began = time.monotonic()
    for number in range(LIVE_S):
        ours.client.post(f"/containers/watched/{('pause', 'unpause')[number % 2]}")
        time.sleep(max(0.0, began + number + 1 - time.monotonic()))
    took = time.monotonic() - began
    print(
        f"{LIVE_ROWS} live rows on {LIVE_ROWS // PAGE_ROWS} open pages, percent of one core "
        f"(aims: web process {WEB_AIM}, browser {BROWSER_AIM})"
    )
    for what, processes in all_of.items():
        print(f"  {what:<12} {100 * (seconds(processes) - before[what]) / took:6.1f} %")


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
            first, *others = (
                opened(browser, ours, session, number) for number in range(1, LIVE_ROWS // PAGE_ROWS + 1)
            )
            costs(browser, ours)
            for page in others:
                page.context.close()
            pages = first, opened(browser, ours, session)
            for page in pages:
                page.evaluate(WATCHED, "watched")
            waits: dict[str, list[float]] = {
                "state change to page": [],
                "to the other page": [],
                "heard by the first page": [],
                "the call itself": [],
            }
            for number in range(ROUNDS):
                verb, state = (("pause", "paused"), ("unpause", "running"))[number % 2]
                pages[0].evaluate("window.heard = []")
                asked = time.time()
                client.post(f"/containers/watched/{verb}")
                waits["the call itself"].append(time.time() - asked)
                for page, what in zip(pages, waits, strict=False):
                    page.wait_for_selector(f"tr[data-name=watched][data-state={state}]")
                    seen = page.evaluate("window.changes.at(-1)")
                    waits[what].append(seen["at"] / 1000 - asked)
                waits["heard by the first page"].append(pages[0].evaluate("window.heard[0]") / 1000 - asked)
                time.sleep(0.2)
            browser.close()
        table("a state change, from asking the engine until it stands on two open pages", waits)
    finally:
        ours.purge()


if __name__ == "__main__":
    main()
