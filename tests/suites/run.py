"""Runs the test suites of other projects with two kernels and compares them name by name.

A test that passes with ipykernel and not with ours must be an exception of `suites.py`, with its reason; an exception that no
longer is one is an error too. Called by `cargo xtask suites`.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import shadow
from suites import SUITES

HERE = Path(__file__).resolve().parent
REFERENCE = "python3"
NOTHING = "nothing was collected"
_TEST_SECONDS = 120


def sdist(suite, folder, python):
    """The file of the source distribution, from PyPI if it is not there yet."""
    name, _, version = suite.sdist.partition("==")
    folder.mkdir(parents=True, exist_ok=True)
    found = [path for path in folder.glob("*.tar.gz") if path.name == f"{name}-{version}.tar.gz"]
    if not found:
        download = ["download", "--quiet", "--no-deps", "--no-binary", name, "--dest", folder, suite.sdist]
        subprocess.run([python, "-m", "pip", *download], check=True)
        found = list(folder.glob(f"{name}-{version}.tar.gz"))
    return found[0]


def unpack(archive, members, folder):
    """The members, and nothing that stands outside the folder."""
    with tarfile.open(archive) as tar:
        for member in tar:
            name = member.name.partition("/")[2]
            if member.isfile() and name.startswith(members):
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with tar.extractfile(member) as source, path.open("wb") as target:
                    shutil.copyfileobj(source, target)


def run_suite(suite, kernel, arguments):
    """{test: (status, why)} of a suite with a kernel."""
    folder = arguments.work / suite.name / kernel
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "work").mkdir(parents=True)
    unpack(sdist(suite, arguments.sdists, arguments.pip), suite.members, folder / "work")
    ini = {"filterwarnings": "default", **suite.ini}
    lines = [f"{key} = {value}\n" for key, value in ini.items()]
    (folder / "work" / "suites.ini").write_text("[pytest]\n" + "".join(lines))
    spec = arguments.venv / "share" / "jupyter" / "kernels" / kernel / "kernel.json"
    starts = shadow.make(spec, folder / "shadow")
    env = {**shadow.environment(arguments.venv, folder, folder / "shadow"), **suite.env}
    env["SUITES_SPEC"] = str(folder / "shadow" / "kernels" / "python3" / "kernel.json")
    results = {}
    for module in suite.modules:
        results.update(run_module(suite, module, folder, env, arguments.venv / "bin" / "python"))
    if not starts.read_text():
        results["<the suite>"] = ("failed", "no kernel was started by its kernelspec")
    return results


def run_module(suite, module, folder, env, python):
    """The same of one module. What is left of its kernels is ended, known by a variable."""
    tag = uuid.uuid4().hex
    results = folder / (module.replace("/", "-") + ".jsonl")
    env = {**env, "SUITES_RESULTS": str(results), "SUITES_TAG": tag}
    foreign = sorted({"nbval", "tornado", "nb_regression"} - set(suite.plugins))
    plugins = ["suites_plugin", "no:cacheprovider", *(f"no:{name}" for name in foreign)]
    command = [python, "-m", "pytest", "-c", "suites.ini", "--rootdir", ".", "-q", "--tb=short"]
    command += [part for plugin in plugins for part in ("-p", plugin)]
    command += [f"--timeout={_TEST_SECONDS}", "--timeout-method=signal", module]
    command += [f"--deselect={test}" for test in suite.deselect]
    with results.with_suffix(".log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder / "work",
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            process.wait(suite.seconds)
        except subprocess.TimeoutExpired:
            pass
        finally:
            end_all(tag)
            process.wait()
    tests = {}
    if results.exists():
        for record in map(json.loads, results.read_text().splitlines()):
            tests[record["test"]] = (record["status"], record["why"])
    return tests or {module: (NOTHING, f"nothing was collected, see {log.name}")}


def end_all(tag):
    """Ends every process that has the tag in its environment."""
    wanted = f"SUITES_TAG={tag}".encode()
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and wanted in (folder / "environ").read_bytes().split(b"\0"):
                os.kill(int(folder.name), signal.SIGKILL)
        except OSError:
            continue  # gone, or another user's


def judge(suite, reference, ours):
    """What is wrong with a suite, as lines."""
    wrong, met = [], set()
    for test, (status, _) in sorted(reference.items()):
        own, why = ours.get(test, ("not there", ""))
        if NOTHING in (status, own):
            wrong.append(f"{suite.name} {test}: {why or NOTHING}")
        if status != "passed" or own in ("passed", "skipped"):
            continue
        allowing = {
            name for name in suite.exceptions if test == name or test.startswith(name.rstrip("*") + "[")
        }
        allowing |= {name for name in suite.exceptions if name.endswith("*") and test.startswith(name[:-1])}
        met |= allowing
        if not allowing:
            wrong.append(f"{suite.name} {test}: {own}\n    " + "\n    ".join(why.splitlines()[-4:]))
    for name in set(suite.exceptions) - met:
        wrong.append(f"{suite.name} {name}: is listed as an exception, and is none")
    return wrong


def main():
    """Runs the suites and prints a table; fails if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--venv", type=Path, required=True, help="the environment with the suites' packages")
    parser.add_argument("--work", type=Path, required=True, help="where suites are unpacked and run")
    parser.add_argument("--sdists", type=Path, help="where source distributions are kept")
    parser.add_argument("--pip", default=sys.executable, help="a Python that has pip")
    parser.add_argument("--kernel", default="rust-hygiene")
    parser.add_argument("suites", nargs="*", help="names; all, if none is given")
    arguments = parser.parse_args()
    arguments.venv, arguments.work = arguments.venv.absolute(), arguments.work.absolute()
    arguments.sdists = arguments.sdists or arguments.work / "sdists"
    known = {suite.name: suite for suite in SUITES}
    chosen = [known[name] for name in arguments.suites] or SUITES
    wrong, totals = [], Counter()
    with ThreadPoolExecutor(2) as pool:
        for suite in chosen:
            sdist(suite, arguments.sdists, arguments.pip)
            runs = [
                pool.submit(run_suite, suite, kernel, arguments) for kernel in (REFERENCE, arguments.kernel)
            ]
            reference, ours = (run.result() for run in runs)
            counts = [Counter(status for status, _ in run.values()) for run in (reference, ours)]
            totals.update(reference=counts[0]["passed"], ours=counts[1]["passed"])
            print(
                f"{suite.name:22} passed {counts[1]['passed']:4}, with ipykernel {counts[0]['passed']:4}",
                flush=True,
            )
            wrong += judge(suite, reference, ours)
    print(f"{'all':22} passed {totals['ours']:4}, with ipykernel {totals['reference']:4}")
    print(*wrong, sep="\n")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
