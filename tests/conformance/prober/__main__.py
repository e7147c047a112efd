"""`python -m prober [--kernel NAME] [--dump] [PROBE…]`: shows what differs, marked with `!` where `docs/differences.md` lists it not."""

import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor

from .differences import Listed, between, listed
from .probe import all_probes
from .run import REFERENCE, run


def main():
    """Runs the chosen probes, or all."""
    parser = argparse.ArgumentParser(prog="python -m prober", description=__doc__)
    parser.add_argument("--kernel", default=os.environ.get("KERNEL_UNDER_TEST", "rust-hygiene"))
    parser.add_argument("--dump", action="store_true", help="print the facts of --kernel and stop")
    parser.add_argument("probes", nargs="*", help="parts of names")
    arguments = parser.parse_args()
    sys.stdout.reconfigure(errors="backslashreplace")
    probes = [
        probe
        for probe in all_probes()
        if not probe.missing
        and (not arguments.probes or any(part in probe.name for part in arguments.probes))
    ]
    cells = same = 0
    with ThreadPoolExecutor(4) as pool:
        pairs = [
            (probe, pool.submit(run, probe, REFERENCE), pool.submit(run, probe, arguments.kernel))
            for probe in probes
        ]
        for probe, reference, ours in pairs:
            print(f"{probe.name}: {len(probe.cells)} cells")
            if arguments.dump:
                for number, facts in enumerate(ours.result(), 1):
                    print(f"  cell {number}", *facts, sep="\n    ")
                continue
            for name, kernel in (("ipykernel", reference), (arguments.kernel, ours)):
                if len(kernel.result()) != len(probe.cells):
                    print(f"  ! with {name} it ends at cell {len(kernel.result())}")
            found = between(reference.result(), ours.result())
            cells, same = cells + len(probe.cells), same + len(probe.cells) - len(found)
            entries = Listed(listed().get(probe.name, []))
            for number, lines in found.items():
                for line in lines:
                    mark = "!" if entries.unlisted({number: [line]}) else " "
                    print(f"  {mark} {probe.name} {number}: {line[:2000]}")
            for line in entries.unmet():
                print(f"  ! listed and not met: {line}")
    if not arguments.dump:
        print(f"{same} of {cells} cells the same")


main()
