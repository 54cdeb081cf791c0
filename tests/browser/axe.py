"""Pages measured with axe, in light and dark; which ones is remembered, so that none is left out."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Page

RULES = ("wcag2a", "wcag2aa", "wcag21aa")
OF_COLOURS = ("color-contrast", "link-in-text-block")  # what a colour scheme can break
SCRIPT = (Path(__file__).parent / "vendor" / "axe.min.js").read_text()
# A colour that fades is measured halfway otherwise.
STILL = """() => {
  const rules = new CSSStyleSheet();
  rules.replaceSync("*, *::before, *::after { transition: none !important; animation: none !important; }");
  document.adoptedStyleSheets.push(rules);
}"""
DRAWN = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done())))"
RUN = "([type, values]) => axe.run(document, {runOnly: {type, values}, resultTypes: ['violations']})"

MEASURED: set[str] = set()  # paths of this run
measuring: set[Page] = set()  # axe tries inline styles, which the pages' own rules forbid: no fault of theirs


def violations(page: Page) -> list[str]:
    """What axe finds on the page as it stands, a line each; its colours in the dark as well."""
    path = urlsplit(page.url).path
    measuring.add(page)
    page.evaluate(SCRIPT)
    page.evaluate(STILL)
    found = []
    for scheme, type, values in (("light", "tag", RULES), ("dark", "rule", OF_COLOURS)):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.evaluate(DRAWN)
        answer = page.evaluate(RUN, [type, list(values)])
        found += [
            f"{path}, {scheme}: {one['id']}: {[node['html'][:120] for node in one['nodes']][:3]}"
            for one in answer["violations"]
        ]
    page.emulate_media(color_scheme="light")
    page.evaluate("0")  # what it logged has come by now
    measuring.discard(page)
    MEASURED.add(path)
    return found


def clean(page: Page) -> None:
    """Nothing is found."""
    found = violations(page)
    assert not found, "\n".join(found)
