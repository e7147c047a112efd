# Asked by the command line, answered as one line of JSON. Runs on any Python, also on one that is too old for the kernel.
import json
import sys


def environment():
    import site

    user_base = None
    if getattr(site, "ENABLE_USER_SITE", False):
        user_base = site.getuserbase() if hasattr(site, "getuserbase") else getattr(site, "USER_BASE", None)
    return {
        "version": list(sys.version_info[:3]),
        "prefix": sys.prefix,
        "base_prefix": getattr(sys, "base_prefix", sys.prefix),
        "user_base": user_base,
    }


def packages():
    found = {}
    try:
        import IPython

        found["ipython"] = {"version": IPython.__version__}
    except BaseException as error:  # noqa: BLE001 - whatever a broken package raises is the answer
        found["ipython"] = {"error": type(error).__name__ + ": " + str(error)}
    for name in ("ipykernel", "jupyter_server"):
        try:
            from importlib import metadata

            found[name] = metadata.version(name)
        except Exception:  # noqa: BLE001 - not installed, or a Python too old to tell
            found[name] = None
    return found


answer = environment()
if "packages" in sys.argv[1:]:
    answer.update(packages())
sys.stdout.write("\nRUST_HYGIENE_PROBE " + json.dumps(answer) + "\n")
