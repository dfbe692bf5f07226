"""Each misuse is answered by a problem document, and none costs the service more than it should."""

import contextlib
import json
import socket
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from pydantic import ValidationError

from pourparler_policies import limits, wire
from pourparler_policies.wire import PROBLEM_URN, Problem, Route
from pourparler_service import connection
from pourparler_service.problems import KINDS
from pourparler_service.settings import Settings
from pourparler_service.testing import (
    ServerProcess,
    TestDevice,
    b64,
    bearer,
    body,
    events,
    found_channel,
    problem,
    threaded,
)

pytestmark = pytest.mark.embedded  # what is refused here does not come to an engine


@pytest.fixture
def device(client: httpx.Client, data: Path) -> TestDevice:
    return found_channel(client, data)[0]


def test_every_problem_has_one_status_and_title() -> None:
    assert set(KINDS) == set(Problem)


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/channels/", "/v1/service/", "/docs", "/v2/service", "/v1//service"]
)
def test_an_unknown_path_is_not_found(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, problem(answer)) == (404, "not-found")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
def test_a_method_that_a_place_does_not_know_is_refused_with_those_that_it_knows(
    client: httpx.Client, method: str
) -> None:
    answer = client.request(method, Route.CHANNELS)
    assert (answer.status_code, problem(answer)) == (405, "method-not-allowed")
    assert answer.headers["allow"] == "POST"


def test_a_path_names_all_methods_of_its_place(client: httpx.Client, device: TestDevice) -> None:
    answer = client.patch(device.path(Route.ENTRIES))
    assert {one.strip() for one in answer.headers["allow"].split(",")} == {"GET", "POST"}


GOOD = json.loads(body(TestDevice(bytes(16)).append()))


@pytest.mark.parametrize(
    "changes",
    [
        {"entry": None},
        {"entry": "short"},
        {"entry": 7},
        {"handshake": "true"},
        {"handshake": 1},
        {"sealed": "***"},
        {"sealed": ""},
        {"life": 0},
        {"life": -1},
        {"life": 1.5},
        {"life": limits.MAX_LIFE + 1},
        {"life": "60"},
        {"life": 10**400},
        {"count": 0},
        {"count": 2**53},
        {"handshake_head": -1},
        {"delete_hash": "AAAA"},
        {"admit": {}},
        {"admit": []},
        {"another": 1},
    ],
)
def test_a_body_of_another_form_is_malformed(
    client: httpx.Client, device: TestDevice, changes: dict[str, Any]
) -> None:
    asked = json.dumps({**GOOD, **changes})
    answer = client.post(device.path(Route.ENTRIES), content=asked, headers=device.headers)
    assert (answer.status_code, problem(answer)) == (422, "malformed")


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"entry"', b"[" * 100_000, b'"' + b"a" * 1000]
)
def test_a_body_that_is_no_json_object_is_malformed(client: httpx.Client, device: TestDevice, text: bytes) -> None:
    answer = client.post(device.path(Route.ENTRIES), content=text, headers=device.headers)
    assert (answer.status_code, problem(answer)) == (422, "malformed")


def test_a_refusal_repeats_nothing_that_was_sent(client: httpx.Client, device: TestDevice) -> None:
    secret = "s3cr3t-that-must-not-come-back"
    for changes in ({"entry": secret}, {secret: 1}, {"admit": {secret: secret}}, {"life": secret}):
        answer = client.post(
            device.path(Route.ENTRIES), content=json.dumps({**GOOD, **changes}), headers=device.headers
        )
        assert answer.status_code == 422
        assert secret not in answer.text
    assert secret not in client.get("/v1/" + secret).text


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx", "multipart/form-data"]
)
def test_another_media_type_is_refused(client: httpx.Client, device: TestDevice, kind: str) -> None:
    answer = client.post(
        device.path(Route.ENTRIES), content=body(device.append()), headers={**device.headers, "Content-Type": kind}
    )
    assert (answer.status_code, problem(answer)) == (415, "media-type")


def test_a_compressed_body_is_refused_unopened(client: httpx.Client, device: TestDevice) -> None:
    headers = {**device.headers, "Content-Encoding": "gzip"}
    answer = client.post(device.path(Route.ENTRIES), content=b"\x1f\x8b", headers=headers)
    assert (answer.status_code, problem(answer)) == (415, "media-type")


@pytest.mark.parametrize(
    "query",
    [
        "after=x",
        "after=-1",
        f"after={2**53}",
        "limit=0",
        "limit=513",
        "limit=",
        "after=" + "9" * 5000,
    ],
)
def test_a_parameter_of_another_form_is_malformed(client: httpx.Client, device: TestDevice, query: str) -> None:
    answer = client.get(device.path(Route.ENTRIES) + "?" + query, headers=bearer(device.token))
    assert (answer.status_code, problem(answer)) == (422, "malformed")


def test_the_largest_request_of_the_protocol_is_taken(client: httpx.Client, device: TestDevice) -> None:
    """A commit and a Welcome of the largest size fit in one append: it is refused for its box, not its size."""
    newcomer = TestDevice(device.channel)
    asked = device.admit(newcomer, bytes(16), sealed=bytes(limits.MAX_SEALED))
    assert asked.admit is not None
    largest = asked.model_copy(
        update={"admit": asked.admit.model_copy(update={"welcome": bytes(limits.MAX_SEALED)})}
    )
    assert len(body(largest)) <= limits.MAX_REQUEST_BODY
    assert problem(device.send(client, largest)) == "not-found"


@contextlib.contextmanager
def raw(server: ServerProcess) -> Iterator[socket.socket]:
    where = urlsplit(server.url)
    with socket.create_connection((where.hostname, where.port), 20) as connection:
        yield connection


def head(server: ServerProcess, device: TestDevice, *lines: str) -> bytes:
    told = [f"POST {device.path(Route.ENTRIES)} HTTP/1.1", f"Host: {urlsplit(server.url).netloc}"]
    told += [f"{name}: {value}" for name, value in device.headers.items()]
    return ("\r\n".join([*told, *lines]) + "\r\n\r\n").encode()


def answered(connection: socket.socket) -> bytes:
    """All that comes until the server closes."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := connection.recv(65536):
            found += chunk
    return found


def test_a_body_announced_too_large_is_refused_before_it_is_sent(
    server: ServerProcess, device: TestDevice
) -> None:
    with raw(server) as connection:
        connection.sendall(head(server, device, f"Content-Length: {limits.MAX_REQUEST_BODY + 1}"))
        found = answered(connection)
    assert found.startswith(b"HTTP/1.1 413 ")
    assert PROBLEM_URN.encode() + b"too-large" in found


def test_a_body_without_an_end_is_cut_off_while_it_is_read(server: ServerProcess, device: TestDevice) -> None:
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    sent = 0
    with raw(server) as connection:
        connection.sendall(head(server, device, "Transfer-Encoding: chunked"))
        with contextlib.suppress(ConnectionError):
            for _ in range(1000):
                connection.sendall(chunk)
                sent += len(chunk)
        found = answered(connection)
    assert sent < 200 * len(chunk)  # the kernel's buffers hold some of it
    assert not found or found.startswith(b"HTTP/1.1 413 ")


def test_a_body_that_breaks_off_stores_nothing(
    server: ServerProcess, client: httpx.Client, device: TestDevice
) -> None:
    asked = body(device.append())
    with raw(server) as connection:
        connection.sendall(head(server, device, f"Content-Length: {len(asked)}") + asked[:-1])
        connection.shutdown(socket.SHUT_WR)
        answered(connection)
    assert client.get(device.path(Route.CHANNEL), headers=device.headers).json()["head"] == 0
    assert device.send(client).status_code == 201


def test_what_is_not_http_gets_no_service_and_harms_none(server: ServerProcess, client: httpx.Client) -> None:
    for junk in (b"\x16\x03\x01\x02\x00" * 50, b"GET\r\n\r\n", b"A" * 100_000, b"\r\n" * 1000):
        with raw(server) as connection, contextlib.suppress(ConnectionError):
            connection.sendall(junk)
            connection.shutdown(socket.SHUT_WR)
            assert b" 200 " not in answered(connection)
    assert client.get(Route.SERVICE).status_code == 200


def test_a_head_without_an_end_is_cut_off(server: ServerProcess, client: httpx.Client) -> None:
    for junk in (b"X-A: " + b"a" * 1_000_000, b"X-A: a\r\n" * 100_000):
        with raw(server) as connection, contextlib.suppress(ConnectionError):
            connection.sendall(b"GET /v1/service HTTP/1.1\r\n" + junk)
            assert answered(connection) == b""
    assert client.get(Route.SERVICE, headers={"X-A": "a" * 8000}).status_code == 200


def test_the_service_tells_its_caps_and_nothing_of_its_software_versions(client: httpx.Client) -> None:
    answer = client.get(Route.SERVICE)
    told = wire.Service.model_validate_json(answer.content)
    assert told.caps.largest_entry == limits.MAX_SEALED
    assert "server" not in answer.headers


@pytest.mark.parametrize("form", [wire.Receipt, wire.Entry, wire.Deposited])
def test_every_time_that_a_service_may_tell_can_be_shown_in_every_time_zone(form: type[wire.Reply]) -> None:
    """A lying service does not crash who shows a date."""
    sealed = {"sealed": "AAAA"}
    entry = {**sealed, "entry": b64(bytes(16)) + "==", "handshake": False}
    given = {wire.Receipt: {}, wire.Entry: entry, wire.Deposited: sealed}[form]
    for name in {"received_at", "expires_at"} & set(form.model_fields):
        for time, taken in (
            (wire.LAST_TIME, True),
            (wire.LAST_TIME + 1, False),
            (limits.MAX_SEQ, False),
            (-1, False),
        ):
            told = {"seq": 1, "received_at": 0, "expires_at": 0, **given, name: time}
            told = {one: told[one] for one in form.model_fields}
            if taken:
                found = form.model_validate_json(json.dumps(told))
                for hours in (-14, 14):
                    datetime.fromtimestamp(getattr(found, name), timezone(timedelta(hours=hours)))
            else:
                with pytest.raises(ValidationError, match=name):
                    form.model_validate_json(json.dumps(told))


@contextlib.contextmanager
def impatient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, TestDevice]]:
    """A service that waits half a second for heads and bodies, and a device of it."""
    monkeypatch.setattr(connection, "HEAD_PATIENCE", 0.5)
    monkeypatch.setattr(connection, "BODY_PATIENCE", 0.5)
    with threaded(Settings(tmp_path, heartbeat=0.1)) as url, httpx.Client(base_url=url, timeout=20) as client:
        yield url, found_channel(client, tmp_path)[0]


@pytest.mark.parametrize("part", ["nothing", "head", "body", "between", "second head", "refused body"])
def test_who_sends_a_byte_now_and_then_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    with impatient(tmp_path, monkeypatch) as (url, device):
        where = urlsplit(url)
        sent = body(device.append())
        lines = (f"POST {device.path(Route.ENTRIES)} HTTP/1.1", "Host: x", f"Content-Length: {len(sent)}")
        whole = [f"{name}: {value}" for name, value in device.headers.items()]
        post = ("\r\n".join([*lines, *whole]) + "\r\n\r\n").encode()
        stranger = ("\r\n".join(lines) + "\r\n\r\n").encode()
        begin, drop = {
            "nothing": (b"", b""),
            "head": (b"GET /v1/service HTTP/1.1\r\nX-A: ", b"a"),
            "body": (post, b" "),
            "between": (post + sent, b"\r\n"),
            "second head": (post + sent + b"GET /v1/service HTTP/1.1\r\nX-A: ", b"a"),
            "refused body": (stranger, b" "),
        }[part]
        with socket.create_connection((where.hostname, where.port), 20) as slow:
            slow.sendall(begin)
            slow.settimeout(0.1)
            dropped = False
            while not dropped:  # a test that never ends is stopped by its timeout
                try:
                    dropped = slow.recv(65536) == b""
                    if not dropped:
                        continue
                except TimeoutError:
                    with contextlib.suppress(ConnectionError):
                        slow.sendall(drop)
                except ConnectionError:
                    dropped = True
        with httpx.Client(base_url=url, timeout=20) as client:
            assert client.get(Route.SERVICE).status_code == 200


def test_a_stream_lasts_longer_than_a_request_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        impatient(tmp_path, monkeypatch) as (url, device),
        httpx.Client(base_url=url, timeout=20) as client,
        client.stream("GET", device.path(Route.STREAM), headers=device.headers) as stream,
    ):
        lines = stream.iter_lines()
        beats = 0
        while beats < 10:  # one in a tenth of a second
            beats += next(lines).startswith(":")
        with httpx.Client(base_url=url, timeout=20) as second:
            assert device.send(second).status_code == 201
        assert next(events(lines))[0] == "entry"
