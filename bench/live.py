"""What open pages cost, and how late they are.

200 running containers, all of them on four open pages of 50 rows, each page in a window of its own of 1280 by
720 that is in sight. Each container works a little and writes a little each second, so that the numbers and
lines of every row move each second. Percent of one core, of each kind of process: with that alone, which the
aims are about; then with one container changing its state each second as well, which counts on all pages; and
what the same browser takes with four empty pages. The browser paints in software, as without a graphics card.
Then from a change in the engine, ``pause``, until the new state stands on two pages, in parts.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections import defaultdict
from collections.abc import Callable

import psutil
from playwright.sync_api import Browser, Page, sync_playwright

from bench._login import Session
from bench._measure import table
from tests.integration.installation import Installation

ROUNDS = 30
LIVE_ROWS = 200  # running, each with gauges
PAGES = LIVE_ROWS // 50
BEAT = """
mkfifo /tmp/beat; exec 3<>/tmp/beat
while :; do
  i=0; n=$((RANDOM % 1500)); while [ $i -lt $n ]; do i=$((i + 1)); done
  printf "%$((RANDOM * 8))s" "" >/dev/shm/x
  read -t 1 x <&3
done
"""  # of one container; starts no process, so that 200 of them leave the machine its rest
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


def kind(process: psutil.Process) -> str:
    """What a process of the browser does; of its services the name."""
    words = " ".join(process.cmdline())
    found = re.search(r"--utility-sub-type=\S*?(\w+)(?:\s|$)", words) or re.search(r"--type=(\S+)", words)
    return found[1] if found else "browser"


def spent(process: psutil.Process) -> float:
    """Seconds of processor time; 0 when it has gone."""
    try:
        return float(sum(process.cpu_times()[:2]))
    except psutil.NoSuchProcess:
        return 0.0


def processes_of(browser: Browser, ours: Installation) -> dict[str, list[psutil.Process]]:
    found = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    roots = [psutil.Process(one["id"]) for one in found if one["type"] == "browser"]
    return {
        "web process": [psutil.Process(ours.web_pid())],
        "browser": [process for root in roots for process in (root, *root.children(True))],
        "engine": [psutil.Process(ours.engine_pid())],
    }


def costs(browser: Browser, ours: Installation, what: str, act: Callable[[int], object]) -> None:
    """Print what each takes while ``act(n)`` is done once a second."""
    all_of = processes_of(browser, ours)
    before = {process.pid: spent(process) for each in all_of.values() for process in each}
    began = time.monotonic()
    for number in range(LIVE_S):
        act(number)
        time.sleep(max(0.0, began + number + 1 - time.monotonic()))
    percent = 100 / (time.monotonic() - began)
    print(f"{what}, percent of one core (aims: web process {WEB_AIM}, browser {BROWSER_AIM})")
    for name, each in all_of.items():
        taken: defaultdict[str, float] = defaultdict(float)
        for process in each:
            with contextlib.suppress(psutil.NoSuchProcess):
                taken[kind(process)] += (spent(process) - before[process.pid]) * percent
        parts = ", ".join(
            f"{part} {share:.1f}"
            for part, share in sorted(taken.items(), key=lambda one: -one[1])
            if share >= 0.05
        )
        print(f"  {name:<12} {sum(taken.values()):6.1f} %" + (f"   ({parts})" if name == "browser" else ""))


def main() -> None:
    ours = Installation("bench")
    try:
        ours.up()
        client = ours.client
        for name in (*(f"other-{number}" for number in range(LIVE_ROWS - 1)), "watched"):
            ours.docker("run", "-d", "--name", name, "webdock/busybox", "sh", "-c", BEAT)
        session = Session(ours)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path="/usr/bin/chromium",
                args=["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"],
            )
            first, *others = (opened(browser, ours, session, number) for number in range(1, PAGES + 1))
            verbs = ("pause", "unpause")
            costs(browser, ours, f"{LIVE_ROWS} rows moving each second on {PAGES} pages", lambda _n: None)
            costs(
                browser,
                ours,
                "the same, and one container a second changes its state",
                lambda number: client.post(f"/containers/watched/{verbs[number % 2]}"),
            )
            for page in (first, *others):
                page.goto("about:blank")
            costs(browser, ours, f"{PAGES} empty pages", lambda _n: None)
            for page in (first, *others):
                page.context.close()
            pages = opened(browser, ours, session), opened(browser, ours, session)
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
