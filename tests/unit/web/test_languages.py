"""The catalogue of JavaScript's sentences."""

from __future__ import annotations

import pytest
from django.test import Client

from webdock import languages


@pytest.fixture
def browser() -> Client:
    return Client()


def test_english_needs_no_catalogue() -> None:
    assert languages.catalogue_url("en") == ""


def test_catalogue_is_a_script_for_everybody(browser: Client) -> None:
    response = browser.get("/language/en.js")
    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/javascript")
    assert b"gettext" in response.content


def test_catalogue_of_an_unknown_language_is_not_found(browser: Client) -> None:
    assert browser.get("/language/xx.js").status_code == 404
