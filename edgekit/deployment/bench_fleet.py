"""The same artifacts measured on every board of a fleet, a folder of samples a board."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgekit.deployment.inventory import Host
from edgekit.deployment.rollout import AT_ONCE, Outcome, Plan, roll_out
from edgekit.devices import open_device
from edgekit.measurement.bench import BenchRequest, bench
from edgekit.progress import Say, silent
from edgekit.records import Measurement, slug
from edgekit.targets import load_target


def bench_fleet(
    request: BenchRequest,
    hosts: Sequence[Host],
    at_once: int = AT_ONCE,
    say: Say = silent,
) -> list[Outcome[list[Measurement]]]:
    """Measure the request's entries on all boards, as their own target where they name one.

    Boards do not disturb each other, so `at_once` of them work together. A board that cannot be
    measured carries the reason, and the same call goes on with what is missing.
    """

    def action(host: Host, say: Say) -> list[Measurement]:
        name = str(host.address)
        target = load_target(host.target) if host.target else request.target
        own = replace(request, target=target, results=request.results / slug(name))
        say(name, "connect")
        device = open_device(name, target)
        try:
            rows = bench(own, device, lambda row, text: say(name, f"{row}: {text}"))
        finally:
            device.close()
        say(name, "done")
        return rows

    return roll_out(hosts, action, Plan(at_once=at_once, max_failures=1.0), say)
