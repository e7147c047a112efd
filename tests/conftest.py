"""Fixtures: one kernel a module, replaced when a test has failed with it; nothing may be left unread."""

import os
import tempfile

import pytest

from frontend import KERNEL, Frontend

FAILED = pytest.StashKey()


def pytest_configure(config):
    """Kernels that others start for us must not read or fill the person's history."""
    home = tempfile.TemporaryDirectory(prefix="ipython-of-tests-")
    config.add_cleanup(home.cleanup)
    os.environ["IPYTHONDIR"] = home.name


def pytest_collection_modifyitems(config, items):
    """Tests marked `ours` make no sense against ipykernel."""
    if KERNEL != "python3":
        return
    left_out = [item for item in items if item.get_closest_marker("ours")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("ours")]


def pytest_report_header():
    return f"kernel under test: {KERNEL}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


class Shared:
    """A kernel that many tests use one after the other."""

    def __init__(self):
        self.frontend = None

    def get(self):
        if self.frontend is None:
            self.frontend = Frontend()
        return self.frontend

    def discard(self):
        frontend, self.frontend = self.frontend, None
        if frontend is not None:
            frontend.kill()


@pytest.fixture(scope="module")
def shared_kernel():
    shared = Shared()
    yield shared
    if shared.frontend is not None:
        shared.frontend.close()


@pytest.fixture
def kernel(shared_kernel, request):
    """The module's kernel, ready, with nothing unread before and after the test."""
    frontend = shared_kernel.get()
    yield frontend
    if request.node.stash.get(FAILED, False):
        shared_kernel.discard()
        return
    try:
        frontend.assert_nothing_unread()
    except BaseException:
        shared_kernel.discard()
        raise


@pytest.fixture
def start_kernel(request):
    """A factory of kernels for one test alone; closed, and checked, at its end."""
    started = []

    def start(**options):
        frontend = Frontend(**options)
        started.append(frontend)
        return frontend

    yield start
    failed = request.node.stash.get(FAILED, False)
    for number, frontend in enumerate(started):
        if failed:
            frontend.kill()
            continue
        try:
            frontend.close()
        except BaseException:
            for other in started[number:]:
                other.kill()
            raise
