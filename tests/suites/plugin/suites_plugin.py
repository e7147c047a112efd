"""A pytest plugin: one JSON line a test as soon as it has finished, so that a run that hangs still reports; no second run of what failed."""

import json
import os
import sys
from pathlib import Path

import pytest

_RESULTS = os.environ.get("SUITES_RESULTS")
_SPEC = os.environ.get("SUITES_SPEC")


def _write(record):
    with open(_RESULTS, "a") as file:
        file.write(json.dumps(record) + "\n")


def pytest_configure(config):
    """A client that asks ipykernel for its own spec, as nbval does, gets the shadow's."""
    try:
        import ipykernel.kernelspec
    except ImportError:
        return
    spec = json.loads(Path(_SPEC).read_text())
    ipykernel.kernelspec.get_kernel_dict = lambda *args, **kwargs: dict(spec)


def _name(item):
    return item.nodeid.replace(str(item.config.rootpath), "<folder>")


def pytest_collection_finish(session):
    """Every test is `not run` until it was."""
    for item in session.items:
        _write({"test": _name(item), "status": "not run", "why": ""})


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    """The worst of the three phases is the test's status."""
    item.suites = {"test": _name(item), "status": "passed", "why": ""}
    result = yield
    _write(item.suites)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Notes what failed; a kernel that tests share is given up then, or one failure would be many."""
    report = yield
    record = getattr(item, "suites", None)
    if record is not None and report.failed:
        record.update(status="failed", why=str(report.longrepr)[-2000:])
        _give_up_shared_kernel()
    elif record is not None and report.skipped and record["status"] == "passed":
        record["status"] = "skipped"
    return report


def _give_up_shared_kernel():
    utils = sys.modules.get("tests.utils")
    if getattr(utils, "KM", None) is not None:
        try:
            utils.stop_global_kernel()
        except Exception:  # noqa: BLE001 - whatever is wrong with it, it is given up
            utils.KM = utils.KC = None
