"""What monitoring is told: trouble at once, people's doings by the hour and in tens, and never whose."""

import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from pourparler_policies.limits import HOUR
from pourparler_service.metrics import FREE_STEP, STEP, Door, Metrics
from pourparler_service.testing import ServerProcess, found_channel


def shown(metrics: Metrics) -> dict[tuple[str, str], float]:
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in metrics.collect()
        for sample in family.samples
    }


def activity(text: str) -> list[str]:
    told = [line for line in text.splitlines() if line.startswith("pourparler_answers_total")]
    assert len(told) == 3
    return told


class Clock:
    now = 1_000_000 * HOUR + 10.0

    def __call__(self) -> float:
        return self.now


def test_what_people_do_is_shown_once_an_hour_and_in_tens() -> None:
    clock = Clock()
    metrics = Metrics(clock)
    for count in range(25):
        metrics.answered(200 if count else 429)
        assert shown(metrics)["pourparler_answers_total", "done"] == 0
    clock.now += HOUR - 11
    assert shown(metrics)["pourparler_answers_total", "done"] == 0
    clock.now += 1
    assert shown(metrics)["pourparler_answers_total", "done"] == 2 * STEP
    metrics.answered(200)
    clock.now += 1
    told = shown(metrics)
    assert told["pourparler_answers_total", "done"] == 2 * STEP
    assert told["pourparler_answers_total", "paced"] == 0, "one who was slowed down is one person"


def test_a_count_of_an_hour_is_shown_although_nobody_looked_in_it() -> None:
    clock = Clock()
    metrics = Metrics(clock)
    for _ in range(10):
        metrics.answered(201)
    clock.now += 5 * HOUR
    metrics.answered(201)  # of the new hour: not yet
    assert shown(metrics)["pourparler_answers_total", "done"] == 10


def test_trouble_shows_at_once() -> None:
    clock = Clock()
    metrics = Metrics(clock)
    metrics.fault()
    metrics.answered(503)
    clock.now += 95
    told = shown(metrics)
    assert told["pourparler_faults_total", ""] == 1
    assert told["pourparler_unavailable_total", ""] == 1
    assert told["pourparler_purge_age_seconds", ""] == 90
    metrics.purged()
    assert shown(metrics)["pourparler_purge_age_seconds", ""] == 0


def test_space_is_rounded_so_that_no_attachment_shows_in_it(tmp_path: Path) -> None:
    metrics = Metrics(Clock(), {"data": tmp_path})
    assert shown(metrics)["pourparler_free_bytes", "data"] % FREE_STEP == 0


def test_a_taken_port_is_said_before_anything_is_served(tmp_path: Path) -> None:
    door = Door(Metrics(Clock()), "127.0.0.1", 0)
    try:
        with pytest.raises(RuntimeError, match=rf"Metrics cannot be told at 127.0.0.1 port {door.port}"):
            ServerProcess(tmp_path, "--metrics-port", str(door.port))
    finally:
        door.close()


def test_metrics_of_a_service_in_use_name_nobody_and_stand_at_a_port_of_their_own(tmp_path: Path) -> None:
    if time.time() % HOUR > HOUR - 20:
        time.sleep(20)  # the hour must not turn in between
    server = ServerProcess(tmp_path, "--metrics-port", "0")
    try:
        address = server.metrics
        with httpx.Client(base_url=server.url, trust_env=False) as http:
            (device,) = found_channel(http, tmp_path)
            before = activity(httpx.get(address, trust_env=False).text)
            for _ in range(30):
                device.send(http)
            assert http.get("/metrics").status_code == 404
        after = httpx.get(address, trust_env=False).text
    finally:
        server.stop()
    assert before == activity(after), "thirty messages, and nothing moved within the hour"
    for word in (device.channel, device.device, device.token):
        assert word.hex() not in after
    labels = {line.partition("{")[2].partition("}")[0] for line in after.splitlines() if "{" in line}
    assert {label.partition("=")[0] for label in labels} == {"outcome", "place"}
    assert "created" not in after
    assert urlsplit(address).port != urlsplit(server.url).port
