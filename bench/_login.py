"""A logged-in HTTP session for benchmarks: the first administrator's link followed without a browser."""

from __future__ import annotations

import gzip
import http.cookiejar
import re
import urllib.parse
import urllib.request

from tests.integration.installation import Installation

NAME, PASSWORD = "ada", "correct horse battery"


class Session:
    """Cookies and an opener, logged in as the administrator it makes."""

    def __init__(self, installation: Installation) -> None:
        self.url = installation.url
        self.cookies = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))
        with self.opener.open(installation.link) as form:
            page, where = form.read().decode(), form.geturl()
        fields = dict(re.findall(r'<input[^>]*name="(csrfmiddlewaretoken)"[^>]*value="([^"]+)"', page))
        names = re.findall(r'<input[^>]*name="(\w+)"', page)
        for name in names:
            if name.startswith("password"):
                fields[name] = PASSWORD
            elif name == "username":
                fields[name] = NAME
        data = urllib.parse.urlencode(fields).encode()
        request = urllib.request.Request(where, data, headers={"Referer": where, "Origin": self.url})
        with self.opener.open(request) as answer:
            assert "/login/" not in answer.geturl(), "the administrator could not be made"

    def get(self, path: str) -> tuple[bytes, dict[str, str]]:
        """Body and headers of a page, asked for as browsers do: compressed."""
        request = urllib.request.Request(self.url + path, headers={"Accept-Encoding": "gzip"})
        with self.opener.open(request) as answer:
            body, headers = answer.read(), dict(answer.headers)
        return gzip.decompress(body) if headers.get("Content-Encoding") == "gzip" else body, headers

    @property
    def cookie_header(self) -> str:
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.cookies)
