"""The OpenAPI document is complete, and the real server keeps to it whatever it is sent."""

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from pourparler_policies import limits, wire
from pourparler_policies.wire import Route
from pourparler_service.desktesting import START, Clock, prepared, publish
from pourparler_service.grants import issue_by
from pourparler_service.postgres.testing import databases
from pourparler_service.problems import KINDS
from pourparler_service.testing import (
    ServerProcess,
    TestRound,
    b64,
    bearer,
    body,
    found_channel,
    settings_of,
    threaded,
)


@pytest.fixture(scope="module")
def document(server: ServerProcess) -> dict[str, object]:
    return httpx.get(server.url + "/v1/openapi.json").json()  # type: ignore[no-any-return]


def test_every_route_of_the_wire_is_documented(document: dict[str, dict[str, object]]) -> None:
    assert set(document["paths"]) == {route.value for route in Route}


def test_every_operation_of_the_document_is_tried_below(document: dict[str, dict[str, dict[str, object]]]) -> None:
    told = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert told == {(method, route.value) for method, route in (*OPERATIONS, *RELEASE)}


def test_every_problem_of_the_wire_is_documented_somewhere(
    document: dict[str, dict[str, dict[str, dict]]],
) -> None:  # type: ignore[type-arg]
    told = {
        int(code)
        for item in document["paths"].values()
        for operation in item.values()
        for code, answer in operation["responses"].items()
        if "application/problem+json" in answer.get("content", {})
    }
    # 405 is no answer of an operation.
    assert told == {kind.status for kind in KINDS.values()} - {405}


OPERATIONS = [
    ("GET", Route.SERVICE), ("GET", Route.READY), ("POST", Route.CHANNELS), ("GET", Route.CHANNEL),
    ("POST", Route.ENTRIES),
    ("GET", Route.ENTRIES), ("POST", Route.DELETION), ("GET", Route.STREAM), ("DELETE", Route.OWN_DEVICE),
    ("POST", Route.REVOCATION), ("POST", Route.BOXES), ("DELETE", Route.BOX), ("PUT", Route.BOX_SLOT),
    ("GET", Route.BOX_SLOT), ("POST", Route.HALVES), ("POST", Route.ATTACHMENTS), ("GET", Route.ATTACHMENT),
    ("PUT", Route.ATTACHMENT_CHUNK), ("GET", Route.ATTACHMENT_CHUNK), ("POST", Route.ATTACHMENT_DELETION),
    ("POST", Route.ROUNDS), ("POST", Route.ROUND), ("GET", Route.ROUND),
]  # fmt: skip


RELEASE = [
    ("POST", Route.DESK), ("GET", Route.CASE), ("POST", Route.CASE_DEPOSIT), ("POST", Route.CASE_WITHDRAWAL),
    ("POST", Route.CASE_STOP), ("GET", Route.BOARD_LIST), ("GET", Route.BOARD_ENTRY), ("GET", Route.BOARD),
    ("GET", Route.BOARD_FEED), ("GET", Route.BOARD_STYLE), ("GET", Route.BOARD_SCRIPT), ("GET", Route.BOARD_PAGE),
    ("GET", Route.BOARD_NOTE), ("POST", Route.TALLIES), ("GET", Route.TALLY), ("POST", Route.TALLY_SLOT),
]  # fmt: skip


@pytest.mark.parametrize(("method", "route"), OPERATIONS)
def test_the_server_keeps_to_its_document(
    engine: str, server: ServerProcess, data: Path, method: str, route: Route
) -> None:
    """Generated requests, good and bad, some with a token that opens the place and some without."""
    schema = schemathesis.openapi.from_url(server.url + "/v1/openapi.json")
    operation = schema[route.value][method]
    with httpx.Client(base_url=server.url, timeout=20) as client:
        device, target = found_channel(client, data, 2)
        box, secret = secrets.token_bytes(16), secrets.token_bytes(32)
        asked = wire.CreateBox(box=box, token_hash=sha256(secret).digest(), life=3600)
        client.post(device.path(Route.BOXES), content=body(asked), headers=device.headers).raise_for_status()
        attached = device.attach(client, limits.ATTACHMENT_SIZES[0])
        attached.put(client, 0, bytes(attached.size)).raise_for_status()
        held = TestRound(int(time.time()), window=1)
        held.make(client, device).raise_for_status()
    with_own_token = route in (Route.BOX, Route.BOX_SLOT, Route.ROUND) or "{attachment}" in route
    known = {"channel": b64(device.channel), "device": b64(target.device), "box": b64(box), "entry": b64(box)}
    known |= {"attachment": b64(attached.attachment), "round": b64(held.round)}
    secret = attached.token if "{attachment}" in route else held.token if route is Route.ROUND else secret

    def call(case: schemathesis.Case, opened: bool) -> requests.Response:
        token = (secret if with_own_token else device.token) if opened else secrets.token_bytes(32)
        if opened and route is Route.CHANNELS:
            (token,) = issue_by(settings_of(data))
        return case.call(headers=bearer(token), timeout=20)

    # An open stream has no end to wait for; `test_streams` reads those.
    keeps(engine, operation, {} if route is Route.STREAM else known, call)


@pytest.fixture(scope="module")
def desk(
    engine: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, dict[str, str]]]:
    """A desk with an open case, and a board with one communiqué."""
    clock, folder = Clock(), tmp_path_factory.mktemp("desk")
    if engine == "postgresql":
        request.getfixturevalue("postgres")
    with (
        databases(folder) if engine == "postgresql" else contextlib.nullcontext(),
        threaded(settings_of(folder, clock=clock)) as url,
        httpx.Client(base_url=url, timeout=20) as client,
    ):
        published = prepared(2)
        publish(client, clock, published)
        clock.now = START
        signing = prepared(2)
        signing.open(client).raise_for_status()
        yield url, {"handle": b64(signing.handle), "digest": published.texts[0].digest.hex()}


@pytest.mark.parametrize(("method", "route"), RELEASE)
def test_desk_and_board_keep_to_their_document(
    engine: str, desk: tuple[str, dict[str, str]], method: str, route: Route
) -> None:
    url, known = desk
    operation = schemathesis.openapi.from_url(url + "/v1/openapi.json")[route.value][method]
    keeps(engine, operation, known, lambda case, _opened: case.call(timeout=20))


def keeps(
    engine: str,
    operation: schemathesis.schemas.APIOperation,
    known: dict[str, str],
    call: Callable[[schemathesis.Case, bool], requests.Response],
) -> None:
    """Send generated requests, some to a place that exists; every answer must be one of the document's."""

    @settings(
        max_examples=15 if engine == "sqlite" else 6,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
        derandomize=True,
    )
    @given(
        case=st.one_of(
            operation.as_strategy(generation_mode=schemathesis.GenerationMode.POSITIVE),
            operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE),
        ),
        opened=st.booleans(),
    )
    def tried(case: schemathesis.Case, opened: bool) -> None:
        opened = opened and bool(known)
        if opened:
            case.path_parameters = {
                **(case.path_parameters or {}),
                **{k: v for k, v in known.items() if "{" + k in operation.path},
            }
        answer = call(case, opened)
        # What the schema allows is refused for good reasons: no such box, a size that is no bucket, 405.0 seconds.
        # And a path that was put right may make a bad case good. That 413 refuses, too, schemathesis does not know.
        refused_for_its_size = answer.status_code == 413
        excluded = [
            positive_data_acceptance,
            *([negative_data_rejection] if opened or refused_for_its_size else []),
        ]
        case.validate_response(answer, excluded_checks=excluded)

    tried()
