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
    """{(probe, kernel or BADGE): a future of the facts}, for the chosen tests; all begin at once, so that the slow ones overlap."""
    wanted = [item for item in request.session.items if "runs" in item.fixturenames]
    names = {item.callspec.params["name"] for item in wanted}
    with_badges = {item.callspec.params["name"] for item in wanted if "badges" in item.originalname}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        yield {
            **{
                (name, kernel): pool.submit(run, probe, kernel)
                for name, probe in PROBES.items()
                if name in names
                for kernel in (REFERENCE, KERNEL)
            },
            **{(name, BADGE): pool.submit(run_with_badges, PROBES[name]) for name in with_badges},
        }


def run_with_badges(probe):
    """The facts of each cell without its badges, and how many badges there were."""
    badges = []

    def is_badge(message):
        found = BADGE in message["content"].get("data", {})
        badges.extend([message] * found)
        return found

    argv = ("--set", "badge=output", "--set", "min_delta=0")
    return run(probe, KERNEL, argv=argv, drop=is_badge), len(badges)


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
    reference = runs[name, REFERENCE].result()
    assert len(reference) == len(PROBES[name].cells), f"with ipykernel it ends at cell {len(reference)}"
    found = complaints(name, reference, runs[name, KERNEL].result())
    for _ in range(_AGAIN):
        if found:
            found &= complaints(name, *(run(PROBES[name], kernel) for kernel in (REFERENCE, KERNEL)))
    assert not found, "\n".join(sorted(found))


def test_the_list_speaks_of_probes_that_exist():
    assert set(listed()) <= set(PROBES)


@pytest.mark.parametrize("name", PROBES)
def test_badges_change_nothing_but_what_they_add(name, runs):
    def differing(plain, badged):
        facts, shown = badged
        assert shown, "no badge was shown"
        return {f"cell {cell}: {line}" for cell, lines in between(plain, facts).items() for line in lines}

    found = differing(runs[name, KERNEL].result(), runs[name, BADGE].result())
    for _ in range(_AGAIN):
        if found:
            found &= differing(run(PROBES[name], KERNEL), run_with_badges(PROBES[name]))
    assert not found, "\n".join(sorted(found))
