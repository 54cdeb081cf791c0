"""What settings a set of WEBDOCK_* variables makes, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from webdock.engines.models import AuditEntry
from webdock.people import cleanup

SHOWN = [
    "ALLOWED_HOSTS",
    "CSRF_TRUSTED_ORIGINS",
    "FORCE_SCRIPT_NAME",
    "SESSION_COOKIE_SECURE",
    "CSRF_COOKIE_SECURE",
    "SESSION_COOKIE_HTTPONLY",
    "CSRF_COOKIE_HTTPONLY",
    "SESSION_COOKIE_SAMESITE",
    "SECURE_HSTS_SECONDS",
    "ENGINES",
    "CHANNEL_LAYERS",
    "SESSION_COOKIE_PATH",
    "DEBUG",
    "PASSWORD_HASHERS",
    "SESSION_COOKIE_NAME",
]
PROGRAM = f"""
import json, django
django.setup()
from django.conf import settings
from django.urls import reverse
shown = {{name: getattr(settings, name, None) for name in {SHOWN!r}}}
shown["engine"] = settings.DATABASES["default"]["ENGINE"]
shown["options"] = settings.DATABASES["default"].get("OPTIONS")
shown["path"] = reverse("container-list")
print(json.dumps(shown))
"""


def settings_of(home: Path, **variables: str) -> dict[str, Any]:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("WEBDOCK_")}
    environ |= {
        "WEBDOCK_HOME": str(home),
        "WEBDOCK_RUN": "/run/x",
        "DJANGO_SETTINGS_MODULE": "webdock.settings",
    }
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def test_without_variables_it_is_a_loopback_page_on_sqlite(tmp_path: Path) -> None:
    found = settings_of(tmp_path)
    assert found["ALLOWED_HOSTS"] == ["localhost", "127.0.0.1", "[::1]"]
    assert found["ENGINES"] == {"local": "unix:///run/x/web.sock"}
    assert found["engine"] == "django.db.backends.sqlite3"
    assert found["options"]["transaction_mode"] == "IMMEDIATE"
    assert "journal_mode=WAL" in found["options"]["init_command"]
    assert "synchronous=NORMAL" in found["options"]["init_command"]
    assert found["SESSION_COOKIE_HTTPONLY"] is found["CSRF_COOKIE_HTTPONLY"] is True
    assert (found["SESSION_COOKIE_SECURE"], found["DEBUG"]) == (False, False)
    assert found["CHANNEL_LAYERS"]["default"]["BACKEND"] == "channels.layers.InMemoryChannelLayer"
    assert found["PASSWORD_HASHERS"][0].endswith("Argon2PasswordHasher")


def test_a_public_url_over_tls_below_a_path(tmp_path: Path) -> None:
    found = settings_of(tmp_path, WEBDOCK_PUBLIC_URL="https://dock.example.org/tools/")
    assert "dock.example.org" in found["ALLOWED_HOSTS"]
    assert found["CSRF_TRUSTED_ORIGINS"] == ["https://dock.example.org"]
    assert found["FORCE_SCRIPT_NAME"] == "/tools"
    assert found["path"] == "/tools/containers/"
    assert found["SESSION_COOKIE_PATH"] == "/tools/"
    assert found["SESSION_COOKIE_SECURE"] is found["CSRF_COOKIE_SECURE"] is True
    assert found["SECURE_HSTS_SECONDS"] > 0


def test_postgresql_redis_and_more_engines_by_url(tmp_path: Path) -> None:
    found = settings_of(
        tmp_path,
        WEBDOCK_DATABASE_URL="postgres://u:p@db/webdock",
        WEBDOCK_REDIS_URL="redis://cache:6379/0",
        WEBDOCK_ENGINES="second=unix:///run/docker.sock, third=tcp://10.0.0.2:2375",
    )
    assert found["engine"] == "django.db.backends.postgresql"
    assert found["CHANNEL_LAYERS"]["default"]["BACKEND"] == "channels_redis.pubsub.RedisPubSubChannelLayer"
    assert list(found["ENGINES"]) == ["local", "second", "third"]


def test_two_homes_have_cookies_of_their_own(tmp_path: Path) -> None:
    one, two = settings_of(tmp_path / "one"), settings_of(tmp_path / "two")
    assert one["SESSION_COOKIE_NAME"] != two["SESSION_COOKIE_NAME"]


def test_a_variable_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="WEBDOCK_ENGINES: 'second' is not alias=url"):
        settings_of(tmp_path, WEBDOCK_ENGINES="second")


def test_no_migration_is_missing(transactional_db: None) -> None:
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


async def test_pages_and_sockets_work_below_a_path(transactional_db: None, settings: Any) -> None:
    from asgiref.testing import ApplicationCommunicator
    from django.urls import set_script_prefix

    from webdock.asgi import http_application, websocket_application

    settings.FORCE_SCRIPT_NAME = "/tools"
    headers = [(b"host", b"testserver")]
    try:
        for path in ("/tools/", "/"):  # the proxy may leave the prefix on, or take it off
            scope = {
                "type": "http", "method": "GET", "path": path, "query_string": b"", "headers": headers,
                "http_version": "1.1", "server": ("testserver", 80), "client": ("127.0.0.1", 1),
            }  # fmt: skip
            page = ApplicationCommunicator(http_application, scope)
            await page.send_input({"type": "http.request"})
            answer = await page.receive_output(5)
            assert dict(answer["headers"])[b"Location"] == b"/tools/login/?next=/tools/"
            await page.wait(5)
    finally:
        set_script_prefix("/")
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"} if not sent else {"type": "websocket.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/tools/ws/pulls/", "headers": [], "query_string": b""}
    await websocket_application(scope, receive, send)
    assert sent[-1]["code"] == 4403, "routed, and refused for want of an origin"


def test_what_has_run_out_is_forgotten(admin: User, client: Client) -> None:
    from datetime import timedelta

    from asgiref.sync import async_to_sync
    from django.contrib.sessions.models import Session

    client.force_login(admin)
    old = AuditEntry.objects.create(action="container.stop")
    AuditEntry.objects.filter(pk=old.pk).update(at=timezone.now() - timedelta(days=366))
    AuditEntry.objects.create(action="container.start")
    async_to_sync(cleanup.forget)()
    assert [entry.action for entry in AuditEntry.objects.all()] == ["container.start"]
    assert Session.objects.count() == 1
    Session.objects.update(expire_date=timezone.now() - timedelta(days=1))
    async_to_sync(cleanup.forget)()
    assert Session.objects.count() == 0


def test_a_page_without_its_token_says_what_to_do(admin: User) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(admin)
    answer = browser.post("/logout/", headers={"accept": "application/json"})
    assert (answer.status_code, answer.json()["ok"]) == (403, False)
    assert browser.post("/logout/").status_code == 403
