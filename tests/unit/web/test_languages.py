"""The catalogue of JavaScript's sentences."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client
from django.utils import translation
from django.utils.translation import gettext

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


CATALOGUES = sorted(Path(settings.LOCALE_PATHS[0]).glob("*/LC_MESSAGES/*.po"))


@pytest.mark.parametrize("catalogue", CATALOGUES, ids=lambda path: path.stem)
def test_every_sentence_of_the_catalogue_is_translated(catalogue: Path) -> None:
    text = catalogue.read_text(encoding="utf-8")
    assert "#, fuzzy" not in text
    for entry in text.split("\n\n")[1:]:
        words = re.sub(r"^msgid(_plural)? .*\n(\".*\"\n)*", "", entry + "\n", flags=re.MULTILINE)
        assert re.search(r'"[^"]', words), entry


def test_compiled_catalogue_says_what_the_sentences_say() -> None:
    with translation.override("zh-hans"):
        assert gettext("Containers") == "容器"
    assert languages.catalogue_url("zh-hans").startswith("/language/zh-hans.js?v=")


def test_language_is_chosen_by_a_form_and_kept(transactional_db: None, browser: Client) -> None:
    response = browser.post("/language/", {"language": "zh-hans", "next": "/login/"})
    assert response.status_code == 302
    page = browser.get("/login/").content.decode()
    assert '<html lang="zh-hans"' in page
    assert "登录" in page
    script = browser.get(languages.catalogue_url("zh-hans"))
    assert "immutable" in script["Cache-Control"]
    assert "\\u5bb9\\u5668" in script.content.decode() or "容器" in script.content.decode()
