"""nginx and Caddy as Debian has them, with the configuration of deploy/, in front of an instance."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess

from tests import leftovers
from tests.integration.installation import ROOT, eventually

HOST = "localhost"
IDLE_S = 4  # what the proxies here allow a silent connection; pings must be quicker


class Proxy:
    """Ends TLS on ``port`` and passes /dock/ on to ``target``; ``stop`` leaves no process."""

    def __init__(self, kind: str, port: int, target: str) -> None:
        self.root = leftovers.directory(f"webdock-{kind}-", "/var/tmp")
        self.port = port
        self._certify()
        text = (ROOT / "deploy" / {"nginx": "nginx.conf", "caddy": "Caddyfile"}[kind]).read_text()
        text = text.replace("127.0.0.1:8000", target)
        self._argv = self._nginx(text) if kind == "nginx" else self._caddy(text)
        with open(self.root / "log", "wb") as log:
            self._process = subprocess.Popen(
                self._argv,
                stdout=log,
                stderr=log,
                cwd=self.root,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self.root)},
            )
        try:
            eventually(self._listens, 60, f"{kind} listens")
        except AssertionError as error:
            log_text = (self.root / "log").read_text(errors="replace")
            self.stop()
            raise AssertionError(f"{error}\n{log_text}") from None

    def _certify(self) -> None:
        subject = ["-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}"]
        self.certificate, self._key = self.root / "cert.pem", self.root / "key.pem"
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
                *("-nodes", "-days", "2", "-keyout", str(self._key), "-out", str(self.certificate), *subject),
            ],
            check=True,
            capture_output=True,
        )

    def _nginx(self, text: str) -> list[str]:
        text = text.replace("listen 443 ssl", f"listen 127.0.0.1:{self.port} ssl")
        text = text.replace("server_name dock.example.org", f"server_name {HOST}")
        text = text.replace("/etc/ssl/dock.example.org.pem", str(self.certificate))
        text = text.replace("/etc/ssl/dock.example.org.key", str(self._key))
        text = text.replace("location / {", "location /dock/ {").replace(
            "location /api/ {", "location /dock/api/ {"
        )
        text = re.sub(r"proxy_read_timeout \d+s", f"proxy_read_timeout {IDLE_S}s", text)
        places = "".join(
            f"{name}_temp_path {self.root}/{name};\n"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        config = self.root / "nginx.conf"
        config.write_text(
            f"daemon off; user root; pid {self.root}/pid; error_log stderr;\nevents {{}}\n"
            f"http {{ access_log off;\n{places}{text}}}\n"
        )
        return ["nginx", "-p", str(self.root), "-c", str(config)]

    def _caddy(self, text: str) -> list[str]:
        text = text.replace("dock.example.org {\n", f"https://{HOST}:{self.port} {{\n\tbind 127.0.0.1\n", 1)
        tls = f"\ttls {self.certificate} {self._key}\n"
        text = re.sub(
            r"\n\treverse_proxy (\S+)\n}",
            rf"\n{tls}\thandle /dock/* {{\n\t\treverse_proxy \1\n\t}}\n}}",
            text,
        )
        config = self.root / "Caddyfile"
        config.write_text("{\n\tadmin off\n\tauto_https off\n}\n" + text)
        return ["caddy", "run", "--adapter", "caddyfile", "--config", str(config)]

    def _listens(self) -> bool:
        if self._process.poll() is not None:
            raise AssertionError(f"{self._argv[0]} ended with {self._process.returncode}")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.root, ignore_errors=True)
