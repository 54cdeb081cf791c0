"""The containers page with 1,000 containers known: asked one after another over loopback, then in Chromium,
which says when something stood on the screen, what came over the wire, and how big the page is.

The engine only has to have created them: the page shows what the web side has seen. The peer is the same
question asked of the engine by ``docker ps -a``, which has no page, no rights and no database.
"""

from __future__ import annotations

import re
import statistics
import time

from playwright.sync_api import Browser, sync_playwright

from bench._login import Session
from bench._measure import interleaved, run, table
from tests.integration.installation import Installation

CONTAINERS = 1000
ROUNDS = 40
SEEN_TIMEOUT_S = 240
VISITS = 8  # of a page, each with an empty cache
PAINT_MS, BYTES = 300, 200_000  # what a first visit may take
BLANK = (
    "/blank"  # a page of one word that asks for nothing: what the machine and the browser take by themselves
)
PAGES = (
    "/", "/containers/", "/images/", "/networks/", "/volumes/", "/events/", "/jobs/", "/engines/", "/people/",
    "/audit/",
)  # fmt: skip

PAINTED = """() => new Promise(done => {
  new PerformanceObserver(() => done()).observe({type: "paint", buffered: true});
})"""
MEASURED = """() => ({
  server: performance.getEntriesByType("navigation")[0].responseStart,
  style: Math.max(0, ...performance.getEntriesByType("resource")
    .filter(one => new URL(one.name).pathname.endsWith(".css")).map(one => one.responseEnd)),
  paint: performance.getEntriesByName("first-contentful-paint")[0].startTime,
  bytes: [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
    .reduce((sum, one) => sum + one.transferSize, 0),
  nodes: document.querySelectorAll("*").length,
})"""

Visit = dict[str, float]


def visit(chromium: Browser, url: str, path: str, session: Session) -> Visit:
    """What one first visit of a page was like."""
    context = chromium.new_context(base_url=url)
    try:
        context.add_cookies([{"name": c.name, "value": c.value or "", "url": url} for c in session.cookies])
        page = context.new_page()
        if path == BLANK:  # only there: with a route, every request goes through the driver
            word = "<!doctype html><title>blank</title><p>blank"
            page.route(f"**{BLANK}", lambda route: route.fulfill(body=word, content_type="text/html"))
        page.goto(path, wait_until="load")
        page.evaluate(PAINTED)
        found: Visit = page.evaluate(MEASURED)
        return found
    finally:
        context.close()


def browser(ours: Installation, session: Session) -> None:
    """Print what a first visit of each page is like, beside what it may be; visits go in turns."""
    visits: dict[str, list[Visit]] = {path: [] for path in (BLANK, *PAGES)}
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"],
        )
        for _round in range(VISITS):
            for path, seen in visits.items():
                seen.append(visit(chromium, ours.url, path, session))
        chromium.close()
    print(f"first visits, medians; the budget is {PAINT_MS} ms to first paint and {BYTES // 1000} kB")
    middles = {
        path: {key: statistics.median(one[key] for one in seen) for key in seen[0]}
        for path, seen in visits.items()
    }
    for path, it in middles.items():
        fits = it["paint"] <= PAINT_MS and it["bytes"] <= BYTES
        print(
            f"  {path:<13} painted after {it['paint']:5.0f} ms, "
            f"{it['paint'] - middles[BLANK]['paint']:5.0f} more than a blank page (first byte "
            f"{it['server']:4.0f}, last style {it['style']:4.0f}), {it['bytes'] / 1000:4.0f} kB, "
            f"{it['nodes']:5.0f} elements   {'within' if fits else 'OVER'}"
        )


def main() -> None:
    ours = Installation("bench")
    try:
        ours.up()
        client = ours.client
        for number in range(CONTAINERS):
            body = {"Image": "webdock/busybox", "Cmd": ["sleep", "100"], "Labels": {"number": str(number)}}
            client.post("/containers/create", {"name": f"page-{number:04d}"}, body)
        session = Session(ours)
        deadline = time.monotonic() + SEEN_TIMEOUT_S
        known = re.compile(rb'data-count="total">' + f"({CONTAINERS}|{CONTAINERS:,})<".encode())
        while not known.search(session.get("/containers/")[0]):
            if time.monotonic() > deadline:
                raise RuntimeError("the web side has not seen all containers")
            time.sleep(0.5)
        times = interleaved(
            {
                "containers page": lambda: session.get("/containers/"),
                "second page of it": lambda: session.get("/containers/?page=2"),
                "filtered by name": lambda: session.get("/containers/?q=page-04"),
                "overview": lambda: session.get("/"),
                "docker ps -a": lambda: run(["docker", "ps", "-a"], ours.environ),
            },
            ROUNDS,
        )
        browser(ours, session)
        table(f"pages with {CONTAINERS} containers known", times)
    finally:
        ours.purge()


if __name__ == "__main__":
    main()
