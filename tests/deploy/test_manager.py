"""A process that systemd started tells it when it listens, so that `systemctl restart` returns then and not before."""

import socket
from pathlib import Path

import httpx

from pourparler_service.testing import ServerProcess


def test_systemd_hears_that_it_is_ready_once_it_takes_requests(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        server = ServerProcess(tmp_path / "data", variables={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        try:
            assert manager.recv(100) == b"READY=1"
            assert httpx.get(f"{server.url}/v1/service", trust_env=False, timeout=60).status_code == 200
        finally:
            assert server.stop() == (0, "")


def test_it_serves_all_the_same_where_systemd_cannot_be_told(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data", variables={"NOTIFY_SOCKET": str(tmp_path / "nowhere")})
    assert httpx.get(f"{server.url}/v1/service", trust_env=False, timeout=60).status_code == 200
    status, told = server.stop()
    assert status == 0
    assert told == "WARNING systemd could not be told that this process is ready: No such file or directory\n"
