"""The distribution's docker-registry on a free loopback port: the real thing that pulls and pushes meet."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from runtime.images import manifest as media
from tests import leftovers
from tests.fakes.image_files import Image
from tests.integration.installation import free_port

READY_TIMEOUT_S = 60


class RealRegistry:
    """Started by ``start``; ``stop`` removes its process and its data.

    users: name -> password in bcrypt, as ``htpasswd -B`` writes it; asks for Basic authentication.
    """

    def __init__(self, *, users: dict[str, str] | None = None, port: int = 0) -> None:
        self.root = leftovers.directory("webdock-registry-", "/var/tmp")
        self.port = port or free_port()
        self._users = users
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def config(self) -> Path:
        """Its configuration file, for a second server of the same images."""
        return self.root / "config.yml"

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def start(self) -> RealRegistry:
        config: dict[str, object] = {
            "version": "0.1",
            "log": {"level": "error"},
            "storage": {
                "filesystem": {"rootdirectory": str(self.root / "data")},
                "delete": {"enabled": True},
                "maintenance": {"uploadpurging": {"enabled": False}},
            },
            "http": {"addr": self.host, "secret": "a secret of tests"},
        }
        if self._users is not None:
            lines = [f"{name}:{password}\n" for name, password in self._users.items()]
            (self.root / "htpasswd").write_text("".join(lines))
            config["auth"] = {"htpasswd": {"realm": "test", "path": str(self.root / "htpasswd")}}
        # JSON is YAML, too.
        self.config.write_text(json.dumps(config))
        with open(self.root / "log", "wb") as log:
            self._process = subprocess.Popen(
                ["docker-registry", "serve", str(self.config)], stdout=log, stderr=log
            )
        deadline = time.monotonic() + READY_TIMEOUT_S
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/v2/", timeout=20).close()
                return self
            except urllib.error.HTTPError as error:
                error.close()
                return self
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"docker-registry: {(self.root / 'log').read_text()}") from None
                time.sleep(0.02)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)
            self._process = None
        shutil.rmtree(self.root, ignore_errors=True)

    # -- filling it without any client of ours

    def put(self, repository: str, tag: str, image: Image) -> str:
        """Upload an image; returns its manifest's digest."""
        for digest, blob in image.blobs.items():
            self.put_blob(repository, digest, blob)
        return self.put_manifest(repository, tag, image.manifest, image.media_type)

    def put_blob(self, repository: str, digest: str, blob: bytes) -> None:
        started = self._request("POST", f"{self.url}/v2/{repository}/blobs/uploads/", b"")
        location = started.headers["Location"]
        glue = "&" if "?" in location else "?"
        self._request("PUT", f"{location}{glue}digest={digest}", blob, "application/octet-stream")

    def put_manifest(
        self, repository: str, tag: str, data: bytes, media_type: str = media.OCI_MANIFEST
    ) -> str:
        answer = self._request("PUT", f"{self.url}/v2/{repository}/manifests/{tag}", data, media_type)
        return str(answer.headers["Docker-Content-Digest"])

    def _request(self, method: str, url: str, data: bytes, media_type: str = "") -> urllib.request.addinfourl:
        request = urllib.request.Request(url, data=data, method=method)
        if media_type:
            request.add_header("Content-Type", media_type)
        answer: urllib.request.addinfourl
        with urllib.request.urlopen(request, timeout=60) as answer:
            answer.read()
            return answer
