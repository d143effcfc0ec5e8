"""
Start commands at once: a process that has imported what they need, and is forked for each.

A fresh ``python -m medsize …`` imports torch, MONAI and more for several seconds. This one reads requests, a line of
JSON each (``module``, ``arguments``, ``cwd``, ``environment``, ``stdout``, ``stderr``), and answers with the exit code.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import sys
import threading
import traceback
from typing import Any

# What commands import. No thread may have been started before the fork.
PRELOADED = (
    *("torch", "torch.utils.tensorboard", "ignite.distributed", "ignite.handlers", "pandas", "matplotlib.figure"),
    *(
        "SimpleITK",
        "nibabel",
        "scipy.ndimage",
        "fire",
        "typer",
        "rich.progress",
        "jinja2",
        "openpyxl",
        "statsmodels.api",
    ),
    *("monai.apps", "monai.bundle.scripts", "monai.data", "monai.engines", "monai.handlers", "monai.inferers"),
    *("monai.losses", "monai.metrics", "monai.networks.nets", "monai.transforms", "monai.optimizers"),
    *("medsize.checks", "medsize.cohort", "medsize.data", "medsize.engines", "medsize.handlers", "medsize.losses"),
    *("medsize.networks", "medsize.sizes", "medsize.transforms"),
)


def serve() -> None:
    """Answer requests until the standard input ends."""
    for module in PRELOADED:
        __import__(module)
    gc.freeze()  # a collection in a forked process would copy all pages
    for line in sys.stdin:
        child = os.fork()
        if not child:
            code = run(json.loads(line))
            threading._shutdown()  # type: ignore[attr-defined]  # as the interpreter does at its end, but without
            atexit._run_exitfuncs()  # taking down all modules, which takes seconds
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def run(request: dict[str, Any]) -> int:
    """Be ``python -m module arguments…`` in its folder and environment."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.path[0] = request["cwd"]
    sys.argv = [request["module"], *request["arguments"]]
    try:
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    except SystemExit as e:
        if e.code is None or isinstance(e.code, int):
            return e.code or 0
        print(e.code, file=sys.stderr)
        return 1
    except BaseException:  # noqa: BLE001  # whatever it is, it is told as the interpreter would
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    serve()
