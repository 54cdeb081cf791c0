"""Registries over TLS: who is trusted, and what is said of who is not."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runtime.api.errors import EngineError
from runtime.config import RegistryConfig
from tests.fakes.image_files import simple
from tests.fakes.registry import FakeRegistry, redirecting
from tests.integration.runtime.images.conftest import MakeEngine, told


def certificate(place: Path, name: str, *, days: int = 2) -> Path:
    """A self-signed certificate with its key, in one file."""
    path = place / f"{name}.pem"
    command = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days {days}"
    files = ["-keyout", path.with_suffix(".key"), "-out", path.with_suffix(".crt")]
    subject = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=IP:{name}"]
    subprocess.run([*command.split(), *subject, *files], check=True, capture_output=True)
    path.write_bytes(path.with_suffix(".key").read_bytes() + path.with_suffix(".crt").read_bytes())
    return path


@pytest.fixture
async def secure(place: Path) -> AsyncIterator[FakeRegistry]:
    """A registry with a certificate nobody knows."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate(place, "127.0.0.1"))
    fake = FakeRegistry(tls=context)
    fake.put("x", "y", simple())
    await fake.start()
    yield fake
    await fake.stop()


async def refused(make_engine: MakeEngine, registry: FakeRegistry, **config: object) -> str:
    engine = await make_engine(config={registry.host: RegistryConfig(registry.host, **config)})  # type: ignore[arg-type]
    with pytest.raises(EngineError) as caught:
        await told(engine.images.pull(f"{registry.host}/x:y"))
    return caught.value.message


async def test_an_unknown_certificate_is_refused_in_dockers_words(
    make_engine: MakeEngine, secure: FakeRegistry
) -> None:
    assert await refused(make_engine, secure, local=True) == (
        f'Get "https://{secure.host}/v2/": tls: failed to verify certificate: '
        "x509: certificate signed by unknown authority"
    )


async def test_a_certificate_of_the_configured_authority_is_taken(
    make_engine: MakeEngine, secure: FakeRegistry, place: Path
) -> None:
    config = RegistryConfig(secure.host, ca=place / "127.0.0.1.crt", local=True)
    engine = await make_engine(config={secure.host: config})
    messages = await told(engine.images.pull(f"{secure.host}/x:y"))
    assert "error" not in messages[-1]


async def test_the_authority_of_one_registry_is_not_the_others(
    make_engine: MakeEngine, secure: FakeRegistry, place: Path
) -> None:
    other = certificate(place, "127.0.0.9").with_suffix(".crt")
    assert "unknown authority" in await refused(make_engine, secure, local=True, ca=other)


async def test_an_insecure_registry_may_have_any_certificate(
    make_engine: MakeEngine, secure: FakeRegistry
) -> None:
    engine = await make_engine(secure)
    messages = await told(engine.images.pull(f"{secure.host}/x:y"))
    assert "error" not in messages[-1]


async def test_a_certificate_file_that_cannot_be_read_is_told(
    make_engine: MakeEngine, secure: FakeRegistry, place: Path
) -> None:
    assert "cannot be read" in await refused(make_engine, secure, local=True, ca=place / "nope.pem")


async def test_a_secure_registry_may_not_send_to_plain_http(
    make_engine: MakeEngine, secure: FakeRegistry, registry: FakeRegistry, place: Path
) -> None:
    secure.fault("GET", "/manifests/", redirecting(f"{registry.url}{{path}}"))
    registry.put("x", "y", simple())
    engine = await make_engine(
        config={
            secure.host: RegistryConfig(secure.host, ca=place / "127.0.0.1.crt", local=True),
            registry.host: RegistryConfig(registry.host, local=True),
        }
    )
    with pytest.raises(EngineError, match="from https to plain http"):
        await told(engine.images.pull(f"{secure.host}/x:y"))
    assert registry.seen == []
