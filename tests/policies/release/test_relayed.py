"""Two sides that share no channel: what is carried, and every course that it can take."""

from dataclasses import replace

import pytest

from pourparler_policies.errors import Misuse, Void
from pourparler_policies.release import events, relayed
from pourparler_policies.release.device import Own, Stage
from pourparler_policies.release.facts import Phase
from pourparler_policies.release.relayed import LEGS, Arranged, Carried, Leg, Side
from pourparler_policies.release.relaying import Cast, World, explore, following, public
from pourparler_policies.release.testing import DAY, PAPER, Talks

ID = b"i" * 16


def test_with_an_honest_carrier_every_course_keeps_the_promises_and_some_are_published() -> None:
    walked = explore(Cast())
    assert walked.complete
    assert any(public(world) for world in walked.found)
    stages = {end.own.stage for world in walked.found for end in world.ends if end.own is not None}
    assert {Stage.ASKED, Stage.SIGNED, Stage.COMPLETE, Stage.PUBLISHED, Stage.LAPSED, Stage.WITHDRAWN} <= stages
