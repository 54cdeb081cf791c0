"""The containers page with 1,000 containers known: asked one after another over loopback, then in Chromium,
which says when something stood on the screen, what came over the wire, and how big the page is.

The engine only has to have created them: the page shows what the web side has seen. The peer is the same
question asked of the engine by ``docker ps -a``, which has no page, no rights and no database.
"""

from __future__ import annotations

import re
import statistics
import time

from playwright.sync_api import sync_playwright

from bench._login import Session
from bench._measure import interleaved, run, table
from tests.integration.installation import Installation

CONTAINERS = 1000
ROUNDS = 40
SEEN_TIMEOUT_S = 240
VISITS = 8  # of a page, each with an empty cache


MEASURED = """() => ({
  paint: performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? 0,
  bytes: [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
    .reduce((sum, one) => sum + one.transferSize, 0),
  nodes: document.querySelectorAll("*").length,
})"""


def browser(ours: Installation, session: Session) -> None:
    """Print what a first visit of each page is like."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"],
        )
        for path in ("/", "/containers/", "/images/"):
            visits = []
            for _number in range(VISITS):
                context = chromium.new_context(base_url=ours.url)
                context.add_cookies(
                    [{"name": c.name, "value": c.value or "", "url": ours.url} for c in session.cookies]
                )
                page = context.new_page()
                page.goto(path)
                page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length > 0")
                visits.append(page.evaluate(MEASURED))
                context.close()
            paint, size, nodes = (
                statistics.median(visit[key] for visit in visits) for key in ("paint", "bytes", "nodes")
            )
            print(
                f"first visit of {path}: painted after {paint:.0f} ms, {size / 1000:.0f} kB transferred, "
                f"{nodes:.0f} elements"
            )
        chromium.close()


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
