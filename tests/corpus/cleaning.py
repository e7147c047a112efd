"""What a policy gives back on the labelled scenarios, measured from outside, and what it leaves as it was.

A scenario's memory is what its process tree holds (private anonymous memory, and shared memory). `tidy` must give back four fifths of
what a scenario that is marked `safe_auto_cleanup` keeps, and must change nothing that a program could see in any other. `strict` must
also free what its steps are for, and changes nothing beyond what they are for.
"""

import json
import os
import time
from pathlib import Path

ENOUGH = 0.8
IDLE_S = 1
SETTLED_S = 2.5  # nothing has changed for so long: the rounds are over
LONGEST_S = 20

# What the labels call a release, and the step that does it.
STEPS = {
    "gc": "gc",
    "trim": "malloc_trim",
    "pool_release": "arrow_pool",
    "empty_cache": "torch_cache",
    "shutdown_workers": "idle_workers",
    "close_figures": "figures",
    "clear_out": "clear_out",
    "clear_traceback": "clear_traceback",
}
STRICT_ONLY = {"close_figures", "clear_out", "clear_traceback"}

# What a program can see of itself, asked twice: just after the last cell, and when the steps are over.
STATE = """
def _state():
    import gc, json, sys, threading
    names = get_ipython().user_ns
    hidden = get_ipython().user_ns_hidden
    shell = {'_', '__', '___', '_i', '_ii', '_iii', '_oh', '_dh', 'In', 'Out', '_ih', '_exit_code', '_state'}
    def size(value):
        for attribute in ('nbytes', '__len__'):
            try:
                found = getattr(value, attribute)
                return int(found() if callable(found) else found)
            except Exception:
                pass
    def of(names):
        return {k: [id(v), type(v).__name__, size(v)] for k, v in names.items()
                if k not in shell and not k.startswith('_')}
    pyplot = sys.modules.get('matplotlib.pyplot')
    state = {
        'names': of({k: v for k, v in names.items() if hidden.get(k) is not v}),
        'out': {str(k): id(v) for k, v in names['_oh'].items()},
        'figures': pyplot.get_fignums() if pyplot else [],
        'exception': id(getattr(sys, 'last_value', None)),
        'collector': [gc.isenabled(), gc.get_threshold(), gc.get_debug(), len(gc.callbacks)],
        'threads': sorted(t.name for t in threading.enumerate()),
        'modules': sorted(m for m in sys.modules if not m.startswith('rust_hygiene_agent')),
    }
    return json.dumps(state)
"""


def interpreter_of(client):
    """The pid of the interpreter, and a function that gives the state of the program in it."""

    def evaluate(expression):
        reply = client.ask(expression)
        assert reply["status"] == "ok", reply
        return eval(reply["data"]["text/plain"])

    pid = evaluate("__import__('os').getpid()")
    return pid, lambda: json.loads(evaluate("_state()"))


def tree(pid):
    """A process and those below it."""
    found = [pid]
    for one in found:
        try:
            tasks = list(Path(f"/proc/{one}/task").iterdir())
            found += [int(c) for task in tasks for c in (task / "children").read_text().split()]
        except OSError:
            pass
    return found


def held(pid):
    """Bytes that a process tree holds, page cache left out."""
    total = 0
    for one in tree(pid):
        try:
            text = Path(f"/proc/{one}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(
            int(line.split()[1]) * 1024
            for line in text.splitlines()
            if line.startswith(("Pss_Anon:", "Pss_Shmem:"))
        )
    return total


def files_in_memory(ours):
    """Names of shared memory that is not of another program's: what was there at the end of the last cell."""
    return sorted(name for name in os.listdir("/dev/shm") if ours is None or name in ours)


def settle(pid):
    """Waits until memory has not changed for a while."""
    end, since, last = time.monotonic() + LONGEST_S, time.monotonic(), held(pid)
    time.sleep(IDLE_S)
    while time.monotonic() < min(end, since + SETTLED_S + IDLE_S):
        time.sleep(0.2)
        now = held(pid)
        if abs(now - last) > 1 << 20:
            last, since = now, time.monotonic()


def difference(before, after):
    """What went (-) and came (+), in short."""
    if isinstance(before, dict):
        before, after = before.items(), after.items()
    if isinstance(before, int):
        return f"{before} to {after}"
    went, came = [x for x in before if x not in after], [x for x in after if x not in before]
    return " ".join([*(f"-{x}" for x in went[:4]), *(f"+{x}" for x in came[:4])])


def watch(client, scenario, cells):
    """Runs a scenario; what it kept, what was given back, and what changed."""
    time.sleep(1.5)  # the kernel's own start ends in its first idle moment
    pid, state = interpreter_of(client)
    client.run(STATE, silent=True)
    base = None
    for number in cells:
        if number >= scenario["measure_from"] and base is None:
            base = held(pid)
        status, _ = client.run(scenario["cells"][number])
        if (status == "error") != (number in (scenario.get("raises") or [])):
            return {"failed": f"cell {number}: {status}"}
    kept = held(pid) - base
    client.steps.clear()
    before, shared, family = state(), files_in_memory(None), len(tree(pid))
    settle(pid)
    freed = base + kept - held(pid)
    after = state()
    changed = {key: difference(before[key], after[key]) for key in before if before[key] != after[key]}
    if (left := files_in_memory(shared)) != shared:
        changed["shared memory"] = difference(shared, left)
    if len(tree(pid)) != family:
        changed["processes"] = f"{family} to {len(tree(pid))}"
    steps = [f"{step['step']} ({step['trigger']})" for step in client.steps]
    return {"kept": kept, "freed": freed, "changed": changed, "steps": steps}


def verdict(scenario, policy, seen):
    """(ok, what was wanted) of one scenario."""
    expected = scenario["expected"]
    releases = set(expected.get("released_by") or [])
    safe = expected.get("safe_auto_cleanup") is True
    mine = expected["leak"] and releases <= STEPS.keys() and expected["culprit"]["kind"] != "variable"
    to_free = safe or (policy == "strict" and mine and releases & STRICT_ONLY)
    # Workers that end take their semaphores, and the threads that served them.
    allowed = {"processes", "threads", "shared memory"} if "shutdown_workers" in releases and safe else set()
    if policy == "strict":
        allowed |= {"out", "figures", "exception"}
    complaints = []
    if unexpected := set(seen["changed"]) - allowed:
        changes = (f"{key} ({seen['changed'][key]})" for key in sorted(unexpected))
        complaints.append("changed: " + ", ".join(changes))
    share = seen["freed"] / seen["kept"] if seen["kept"] > 0 else 0
    if to_free and share < ENOUGH:
        complaints.append(f"freed {share:.0%} of what it should")
    return not complaints, "frees" if to_free else "leaves", "; ".join(complaints)


def line(scenario, policy, seen):
    """One scenario in one line, and whether it is as it should be."""
    ok, wanted, complaint = verdict(scenario, policy, seen)
    figures = f"kept {seen['kept'] / 1e6:7.1f} MB, given back {seen['freed'] / 1e6:7.1f} MB"
    steps = " ".join(seen["steps"])
    return (
        ok,
        f"{scenario['id']:<46} {'ok' if ok else 'WRONG':<6} {wanted:<7} {figures}  {complaint or steps}",
    )
