"""The proxy of `deploy/nginx`, run before real processes of the service."""

import re
import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path

import httpx

DEPLOY = Path(__file__).parents[2] / "deploy"
NGINX, OPENSSL = (shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin") for name in ("nginx", "openssl"))


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


class Front:
    """nginx with the file of `deploy`, its ports and paths for this test."""

    def __init__(self, root: Path, *services: str) -> None:
        assert NGINX is not None
        self.root, self.tls, self.plain = root, free_port(), free_port()
        pair = ["-keyout", root / "key.pem", "-out", root / "fullchain.pem"]
        names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        subprocess.run(
            [str(OPENSSL), "req", "-x509", "-newkey", "ed25519", "-nodes", "-days", "2", *names, *pair],
            check=True,
            capture_output=True,
        )
        site = "".join(one.read_text() for one in sorted((DEPLOY / "nginx").glob("*.conf")))
        site = re.sub(r"listen \[::\]:\d+[^;]*;", "", site)
        site = site.replace("listen 443", f"listen 127.0.0.1:{self.tls}").replace(
            "listen 80", f"listen 127.0.0.1:{self.plain}"
        )
        servers = " ".join(f"server {url.removeprefix('http://')};" for url in services)
        site = site.replace("server 127.0.0.1:8470;", servers).replace("/etc/pourparler/tls", str(root))
        temporary = "".join(
            f"{kind}_temp_path {root}/temp;\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (root / "site.conf").write_text(site)
        (root / "nginx.conf").write_text(
            f"daemon off; pid {root}/pid; error_log {root}/main.log; events {{ }}\n"
            f"http {{ access_log {root}/access.log; {temporary} include {root}/site.conf; }}"
        )
        self.process = subprocess.Popen([NGINX, "-c", root / "nginx.conf", "-p", root], stderr=subprocess.PIPE)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and not (root / "pid").exists():
            time.sleep(0.05)
        self.url = f"https://localhost:{self.tls}"

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.root / "fullchain.pem"))

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, verify=self.trust, trust_env=False, timeout=20)

    def close(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=20)
