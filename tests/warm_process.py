"""
Start commands at once: a process that has imported what they need, and is forked for each.

    python -m tests.warm_process [medsize]

A fresh ``python -m medsize …`` imports torch, MONAI and more for several seconds. This one reads requests, a line of
JSON each (``module``, ``arguments``, ``cwd``, ``environment``, ``stdout``, ``stderr``), and answers with the exit code.
What a command starts as ``python -m …`` is forked from it likewise. Without the argument ``medsize``, commands import
medsize from their own search path, if it is there.
"""

from __future__ import annotations

import atexit
import functools
import gc
import inspect
import json
import multiprocessing.util
import os
import runpy
import signal
import subprocess
import sys
import threading
import traceback
import weakref
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NoReturn

# What commands import. No thread may have been started before the fork.
PRELOADED = (
    *("torch", "torch._dynamo", "torch.utils.tensorboard", "ignite.distributed", "ignite.handlers"),
    *("pandas", "pyarrow.pandas_compat", "matplotlib.figure", "matplotlib.backends.backend_agg"),
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
)
MEDSIZE = (
    *("medsize.checks", "medsize.cohort", "medsize.data", "medsize.engines", "medsize.handlers", "medsize.inference"),
    *("medsize.losses", "medsize.networks", "medsize.sizes", "medsize.transforms"),
)
SEARCH_PATH = list(sys.path)


class ForkedPopen(subprocess.Popen):
    """``subprocess.Popen`` that goes on in its fork, in place of a fresh interpreter, for ``python -m module …``."""

    def __init__(
        self,
        args: Any,
        *others: Any,
        env: Mapping[str, str] | None = None,
        pass_fds: Collection[int] = (),
        preexec_fn: Any = None,
        **options: Any,
    ) -> None:
        words = list(args) if isinstance(args, Sequence) and not isinstance(args, str) else []
        if words[:2] == [sys.executable, "-m"]:
            preexec_fn = functools.partial(go_on_as, words[2], words[3:], env, pass_fds, preexec_fn)
        super().__init__(args, *others, env=env, pass_fds=pass_fds, preexec_fn=preexec_fn, **options)


def serve() -> None:
    """Answer requests until the standard input ends."""
    for module in PRELOADED + (MEDSIZE if sys.argv[1:] else ()):
        __import__(module)
    inspect.stack()  # MONAI does; from now on it knows the files of all modules
    subprocess.Popen = ForkedPopen  # type: ignore[misc]
    gc.freeze()  # a collection in a forked process would copy all pages
    for line in sys.stdin:
        child = os.fork()
        if not child:
            answer(json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def answer(request: Mapping[str, Any]) -> NoReturn:
    """Be the command of a request."""
    forget_the_parent()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    os.chdir(request["cwd"])
    run(request["module"], request["arguments"], request["environment"])


def go_on_as(
    module: str, arguments: Sequence[str], environment: Mapping[str, str] | None, kept: Collection[int], prepare: Any
) -> NoReturn:
    """Be a program that a command starts: forget what belongs to the command."""
    if prepare is not None:
        prepare()
    last = 2
    for descriptor in [*sorted(kept), os.sysconf("SC_OPEN_MAX")]:
        os.closerange(last + 1, descriptor)
        last = descriptor
    forget_the_parent()
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, closefd=False)  # noqa: SIM115
        for number, mode in enumerate("rww")
    )
    for name in [name for name in sys.modules if name.split(".")[0] == "scripts"]:  # of a bundle
        del sys.modules[name]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.enable()
    run(module, arguments, os.environ.copy() if environment is None else environment)


def forget_the_parent() -> None:
    """Leave it to the parent to clean up at its end, such as its temporary folders."""
    atexit._clear()
    atexit.register(multiprocessing.util._exit_function)  # type: ignore[attr-defined]
    weakref.finalize._registry.clear()  # type: ignore[attr-defined]
    weakref.finalize._registered_with_atexit = False  # type: ignore[attr-defined]


def run(module: str, arguments: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Be ``python -m module arguments…`` in an environment."""
    code = 1
    try:
        os.environ.clear()
        os.environ.update(environment)
        own = [folder for folder in environment.get("PYTHONPATH", "").split(os.pathsep) if folder]
        sys.path[:] = [os.getcwd(), *own, *SEARCH_PATH[1:]]
        sys.argv = [module, *map(str, arguments)]
        code = _exit_code(module)
        threading._shutdown()  # type: ignore[attr-defined]  # as the interpreter does at its end, but without
        atexit._run_exitfuncs()  # taking down all modules, which takes seconds
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _exit_code(module: str) -> int:
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
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
