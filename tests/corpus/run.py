"""Runs the labelled scenarios in a real kernel and scores what the kernel said about them.

Every scenario is a notebook with a known truth (`scenarios/*.yaml`, `more/*.yaml`). A stock client runs its cells; the answer is what the
records in the replies and `%hygiene leaks` say. A scenario whose packages are missing is listed as not run.
"""

import argparse
import ast
import fnmatch
import importlib.util
import json
import os
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

import cleaning
import psutil
import yaml
from jupyter_client.manager import KernelManager

FINDINGS = "application/vnd.rust-hygiene.findings+json"
FOLDERS = ("scenarios", "more")  # what users reported, and what else they do
SMALLEST_TOLERANCE = 4_000_000
ENOUGH = 0.8  # of a finding's bytes
TRIM = "import ctypes, gc; gc.collect(); ctypes.CDLL(None).malloc_trim(0);"
NAMES = {"scikit-learn": "sklearn", "pillow": "PIL", "tensorflow-cpu": "tensorflow", "PyYAML": "yaml"}


def scenarios(only):
    """The scenarios whose id begins with one of `only`, or all."""
    for path in sorted(
        path for folder in FOLDERS for path in Path(__file__).with_name(folder).glob("*.yaml")
    ):
        if not only or path.stem.startswith(tuple(only)):
            yield yaml.safe_load(path.read_text())


def why_not(scenario):
    """Why a scenario cannot run here, or None."""
    missing = [p for p in scenario["requires"] if importlib.util.find_spec(NAMES.get(p, p)) is None]
    if missing:
        return "not installed: " + ", ".join(missing)
    if scenario.get("needs_gpu"):
        import torch

        if not torch.cuda.is_available():
            return "no GPU"
    return None


def sequence(scenario):
    """Cell numbers in the order of execution."""
    repeat = scenario.get("repeat") or []
    times = {r["cell"]: r["times"] for r in ([repeat] if isinstance(repeat, dict) else repeat)}
    return [i for i in range(len(scenario["cells"])) for _ in range(times.get(i, 1))]


class Client:
    """A kernel in a folder of its own and what it said."""

    def __init__(self, scenario, kernel, folder, settings=()):
        environment = dict(os.environ, IPYTHONDIR=str(folder / ".ipython"), TF_CPP_MIN_LOG_LEVEL="3")
        environment.update(settings)
        environment.pop("MPLBACKEND", None)
        for name, value in (scenario.get("env") or {}).items():
            environment[name] = str(value).replace("{cwd}", str(folder))
        for name, text in (scenario.get("files") or {}).items():
            (folder / name).write_text(text)
        self._manager = KernelManager(kernel_name=kernel)
        self._manager.start_kernel(env=environment, cwd=str(folder))
        self._client = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=60)
        self._bundles = []
        self.steps = []  # cleanup steps that were told

    def run(self, code, **options):
        """(status, record) of one cell."""
        reply = self._client.execute_interactive(code, timeout=300, output_hook=self._output, **options)
        return reply["content"]["status"], self._record(reply)

    def _record(self, reply):
        record = reply["metadata"].get("rust_hygiene")
        self.steps += record["steps"] if record else []
        return record

    def ask(self, expression):
        """What a user expression gives, without a trace in the history."""
        asked = {"user_expressions": {"value": expression}, "silent": True}
        reply = self._client.execute_interactive("", timeout=300, **asked)
        self._record(reply)
        return reply["content"]["user_expressions"]["value"]

    def _output(self, message):
        if message["msg_type"] == "display_data":
            self._bundles.append(message["content"]["data"])

    def findings(self):
        """What `%hygiene leaks` says."""
        self._bundles.clear()
        self.run("%hygiene leaks", store_history=False)
        return next(b[FINDINGS]["findings"] for b in self._bundles if FINDINGS in b)

    def value(self, expression):
        """The value of an expression of plain data."""
        content = self._client.execute_interactive(
            "", silent=True, user_expressions={"x": expression}, timeout=60, output_hook=self._output
        )["content"]
        return ast.literal_eval(content["user_expressions"]["x"]["data"]["text/plain"])

    def close(self):
        """Ends the kernel."""
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)


def held(pid, known):
    """Bytes that the process tree holds, without pages of files, and new segments of shared memory."""
    total = 0
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        try:
            lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue  # it has just ended
        parts = dict(line.split(":") for line in lines[1:])
        total += sum(
            int(parts[part].split()[0]) * 1024 for part in ("Pss_Anon", "Pss_Shmem") if part in parts
        )
    return total + sum(p.stat().st_blocks * 512 for p in segments() - known if p.exists())


def segments():
    """Segments of shared memory that multiprocessing made, of whomever."""
    return set(Path("/dev/shm").glob("psm_*"))


def freed_by(client, pid, known, code):
    """Bytes that go when code is run, as seen from outside; processes take a moment to end."""
    before = held(pid, known)
    status, _ = client.run(code, store_history=False)
    if status != "ok":
        return None
    for _ in range(10):
        time.sleep(0.3)
        freed = before - held(pid, known)
        if freed > 4_000_000:
            break
    time.sleep(0.5)
    return before - held(pid, known)


def follow(client, pid, known, scenario, finding):
    """What following the first finding frees: by its own line, or where that is only a remark, by the scenario's remedy."""
    if not finding["hint"].startswith(("#", "%hygiene")):
        freed = freed_by(client, pid, known, finding["hint"])
        if freed is not None and freed < ENOUGH * finding["bytes"]:
            # What the line frees may lie within the C allocator's heap: then it is slack, which is told with the next record.
            trimmed = freed_by(client, pid, known, TRIM)
            return {"freed": freed + (trimmed or 0), "by": "hint and trim"}
        return {"freed": freed, "by": "hint"}
    remedy = scenario["expected"].get("release")
    if not remedy or "none" in scenario["expected"]["released_by"]:
        return {"by": "nothing"}
    remedy += "\n" + TRIM
    return {"freed": freed_by(client, pid, known, remedy), "by": "hand"}


def answer(scenario, kernel):
    """What the kernel said, as plain data."""
    with tempfile.TemporaryDirectory(prefix="corpus-") as folder:
        client = Client(scenario, kernel, Path(folder))
        try:
            records, base = [], scenario["measure_from"]
            pid, known = client.value("__import__('os').getpid()"), segments()
            for number in sequence(scenario):
                status, record = client.run(scenario["cells"][number])
                if (status == "error") != (number in (scenario.get("raises") or [])):
                    return {"failed": f"cell {number}: {status}"}
                if number >= base:
                    records.append(record)
            last = client.findings()
            if check := scenario.get("check"):
                status, _ = client.run(check, silent=True)
                if status != "ok":
                    return {"failed": "the truth does not hold here"}
            told = [f for r in records for f in r["findings"]]
            alarms = [f for f in [*last, *told] if f["leak"] and f["confidence"] != "possible"]
            leaks = scenario["expected"]["leak"] and alarms
            followed = follow(client, pid, known, scenario, alarms[0]) if leaks else {}
        finally:
            client.close()
    return {"alarms": alarms, "explained": explained(records), "records": records, "followed": followed}


def explained(records):
    """The share of what was to be explained that the ledgers explain, over the notable cells; None if there was nothing."""
    notable = [r for r in records if r["ledger"]["explained"] is not None]
    moved = sum(abs(r["host"]["delta"]) for r in notable)
    return 1 - sum(abs(r["ledger"]["residue"]) for r in notable) / moved if moved else None


def clean(scenario, kernel, policy):
    """What a policy did, as plain data."""
    settings = {
        "RUST_HYGIENE_POLICY_NAME": policy,
        "RUST_HYGIENE_POLICY_IDLE_S": str(cleaning.IDLE_S),
    }
    with tempfile.TemporaryDirectory(prefix="corpus-") as folder:
        client = Client(scenario, kernel, Path(folder), settings)
        try:
            return cleaning.watch(client, scenario, sequence(scenario))
        finally:
            client.close()


def contains(text, word):
    """A keyword of word characters must be a whole word, any other a part of the text."""
    if re.fullmatch(r"\w+", word):
        return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) is not None
    return word.lower() in text.lower()


def names_culprit(wanted, given):
    """Whether the culprit is the wanted one or an alias of it."""
    given = given.strip().lower()
    for name in [wanted["name"], *wanted.get("aliases", [])]:
        name = str(name).lower()
        if given == name or ("*" in name and fnmatch.fnmatch(given, name)):
            return True
        if len(name) > 2 and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", given):
            return True
    return False


def judge(scenario, said):
    """One row: what was right."""
    expected, alarms = scenario["expected"], said["alarms"]
    row = {
        "id": scenario["id"],
        "leak": expected["leak"],
        "flagged": bool(alarms),
        "explained": said["explained"],
    }
    if not alarms:
        return row
    first = alarms[0]
    row.update(
        said=first["cause"], who=first["culprit"]["name"], bytes=first["bytes"], hint_text=first["hint"]
    )
    if not expected["leak"]:
        return row
    text = f"{first['message']} {first['hint']}"
    true = expected.get("cause_bytes", expected["retained_bytes"])
    tolerance = max(expected.get("tolerance", 0.2) * true, SMALLEST_TOLERANCE)
    row["cause"] = first["cause"] == expected["category"]
    row["culprit"] = names_culprit(expected["culprit"], first["culprit"]["name"])
    row["hint"] = all(
        any(contains(text, str(word)) for word in group) for group in expected["expected_hint_keywords"]
    )
    row["error"] = abs(first["bytes"] - true) / true
    row["bytes_right"] = abs(first["bytes"] - true) <= tolerance
    row.update({f"followed_{key}": value for key, value in said["followed"].items()})
    if "freed" in said["followed"]:
        row["frees"] = (said["followed"]["freed"] or 0) / first["bytes"]
    return row


def share(values):
    """The mean of truths, or None of none."""
    values = list(values)
    return round(sum(values) / len(values), 3) if values else None


def summary(rows):
    """The table's last lines."""
    leaks = [r for r in rows if r["leak"]]
    hits = [r for r in leaks if r["flagged"]]
    alarms = [r for r in rows if not r["leak"] and r["flagged"]]
    explained = [r["explained"] for r in rows if r["explained"] is not None]
    by_line = [r["frees"] for r in hits if r.get("followed_by") == "hint"]
    trimmed = [r["frees"] for r in hits if r.get("followed_by") == "hint and trim"]
    by_hand = [r["frees"] for r in hits if r.get("followed_by") == "hand"]
    return {
        "scenarios": len(rows),
        "recall": share(r["flagged"] for r in leaks),
        "precision": round(len(hits) / (len(hits) + len(alarms)), 3) if hits or alarms else None,
        "false alarms": len(alarms),
        "cause": share(r["cause"] for r in hits),
        "culprit": share(r["culprit"] for r in hits),
        "hint": share(r["hint"] for r in hits),
        "bytes within tolerance": share(r["bytes_right"] for r in hits),
        "median error of bytes": round(statistics.median(r["error"] for r in hits), 3) if hits else None,
        "median explained": round(statistics.median(explained), 3) if explained else None,
        "least explained": round(min(explained), 3) if explained else None,
        "hints that are run": len(by_line) + len(trimmed),
        "that free >= 80 % alone": sum(value >= ENOUGH for value in by_line),
        "that do with a trim": sum(value >= ENOUGH for value in trimmed),
        "remedies by hand": len(by_hand),
        "that free >= 80 %": sum(value >= ENOUGH for value in by_hand),
    }


def line(row):
    """One scenario in one line."""
    marks = "".join(
        {True: "+", False: "-", None: " "}[row.get(key)]
        for key in ("cause", "culprit", "hint", "bytes_right")
    )
    verdict = {
        (True, True): "found",
        (True, False): "MISSED",
        (False, True): "ALARM",
        (False, False): "clean",
    }
    said = f"{row['said']}: {row['who']}, {row['bytes'] / 1e6:.1f} MB" if row["flagged"] else ""
    least = "-" if row["explained"] is None else f"{row['explained']:.0%}"
    frees = f", {row['followed_by']} frees {row['frees']:.0%}" if "frees" in row else ""
    return f"{row['id']:<46} {verdict[row['leak'], row['flagged']]:<7} {marks:<5} {least:>5}  {said}{frees}"


def clean_all(options):
    """Prints the table of a policy; fails if it does not do what it should, or more."""
    failed, wrong, done, skipped = 0, 0, 0, 0
    for scenario in scenarios(options.only):
        if reason := why_not(scenario):
            skipped += 1
            print(f"{scenario['id']:<46} not run ({reason})", flush=True)
            continue
        seen = clean(scenario, options.kernel, options.policy)
        if "failed" in seen:
            failed += 1
            print(f"{scenario['id']:<46} FAILED: {seen['failed']}", flush=True)
            continue
        ok, text = cleaning.line(scenario, options.policy, seen)
        done, wrong = done + 1, wrong + (not ok)
        print(text, flush=True)
    print(f"\nas it should be {done - wrong} of {done}, not run {skipped}, failed {failed}")
    return 1 if failed or wrong or not done else 0


def main():
    """Prints the table; fails if a scenario failed to run or a clean one was flagged."""
    parser = argparse.ArgumentParser()
    parser.add_argument("only", nargs="*", help="beginnings of ids")
    parser.add_argument("--kernel", default="rust-hygiene")
    parser.add_argument("--json", help="write what the kernel said to this file")
    parser.add_argument("--policy", choices=["tidy", "strict"], help="see what this policy gives back")
    options = parser.parse_args()
    if options.policy:
        return clean_all(options)
    rows, said_of, failed, skipped = [], {}, 0, 0
    print(
        f"{'scenario':<46} {'verdict':<7} cause, culprit, hint, bytes; explained; first finding",
        flush=True,
    )
    for scenario in scenarios(options.only):
        if reason := why_not(scenario):
            skipped += 1
            print(f"{scenario['id']:<46} not run ({reason})", flush=True)
            continue
        said = answer(scenario, options.kernel)
        said_of[scenario["id"]] = said
        if "failed" in said:
            failed += 1
            print(f"{scenario['id']:<46} FAILED: {said['failed']}", flush=True)
            continue
        rows.append(judge(scenario, said))
        print(line(rows[-1]), flush=True)
    print()
    for name, value in summary(rows).items():
        print(f"{name:<24} {value}")
    print(f"{'not run':<24} {skipped}\n{'failed':<24} {failed}")
    if options.json:
        Path(options.json).write_text(json.dumps(said_of, indent=1))
    return 1 if failed or not rows or any(r["flagged"] and not r["leak"] for r in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
