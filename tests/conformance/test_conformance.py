"""The same cells on ipykernel and on the kernel under test: what differs is what `docs/differences.md` lists, no more and no less."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from prober.differences import Listed, between, listed
from prober.probe import all_probes
from prober.run import REFERENCE, run

from frontend import KERNEL

PROBES = {probe.name: probe for probe in all_probes()}
BADGE = "application/vnd.rust-hygiene.cell+json"
# All runs together, this many at a time; most of a run is waiting.
_AT_ONCE = 3 * (os.cpu_count() or 2)
# Some of what ipykernel prints comes from a thread, now within one cell and now within the next.
_AGAIN = 2

pytestmark = [pytest.mark.ours, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def runs(request):
    """{(probe, kernel): a future of the facts}, for the chosen tests; all begin at once, so that the slow ones overlap."""
    wanted = [item.callspec.params for item in request.session.items if "runs" in item.fixturenames]
    names = {parameters["name"] for parameters in wanted}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        yield {
            (name, kernel): pool.submit(run, probe, kernel)
            for name, probe in PROBES.items()
            if name in names
            for kernel in (REFERENCE, KERNEL)
        }


def complaints(name, reference, ours):
    """What differs and is not listed, and what is listed and did not happen."""
    entries = Listed(listed().get(name, []))
    unlisted = entries.unlisted(between(reference, ours))
    return {
        *(f"not listed in docs/differences.md: {line}" for line in unlisted),
        *(f"listed, and did not happen: {line}" for line in entries.unmet()),
    }


@pytest.mark.parametrize("name", PROBES)
def test_what_differs_is_listed_and_what_is_listed_differs(name, runs):
    """What a kernel does one time and not the next is no difference: a complaint counts if it comes back each time."""
    assert not PROBES[name].missing, f"not installed: {PROBES[name].missing}"
    found = complaints(name, runs[name, REFERENCE].result(), runs[name, KERNEL].result())
    for _ in range(_AGAIN):
        if found:
            found &= complaints(name, *(run(PROBES[name], kernel) for kernel in (REFERENCE, KERNEL)))
    assert not found, "\n".join(sorted(found))


def test_the_list_speaks_of_probes_that_exist():
    assert set(listed()) <= set(PROBES)


@pytest.mark.parametrize("name", PROBES)
def test_badges_change_nothing_but_what_they_add(name, runs):
    badges = []

    def is_badge(message):
        found = BADGE in message["content"].get("data", {})
        badges.extend([message] * found)
        return found

    def added(plain):
        argv = ("--set", "badge=output", "--set", "min_delta=0")
        found = between(plain, run(PROBES[name], KERNEL, argv=argv, drop=is_badge))
        return {f"cell {cell}: {line}" for cell, lines in found.items() for line in lines}

    differs = added(runs[name, KERNEL].result())
    for _ in range(_AGAIN):
        if differs:
            differs &= added(run(PROBES[name], KERNEL))
    assert not differs, "\n".join(sorted(differs))
    assert badges, "no badge was shown"
