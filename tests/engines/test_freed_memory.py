"""Freed memory comes back without the system's help, or is handed back to it."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc has mallopt")

PROGRAM = """
import resource
import torch
from medsize.engines import keep_freed_memory

keep = {keep}
if keep:
    assert keep_freed_memory()

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

torch.ones(64 * 2**18)  # 64 MB
before = faults()
for _ in range(4):
    torch.ones(64 * 2**18)
print(faults() - before)
"""


def page_faults(keep: bool) -> int:
    program = PROGRAM.format(keep=keep)
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return int(run.stdout)


@needs_glibc
def test_freed_memory_is_used_again_without_page_faults() -> None:
    assert page_faults(keep=True) < page_faults(keep=False) / 2


@needs_glibc
def test_freed_memory_is_handed_back() -> None:
    program = """
import torch
from medsize.engines.freed_memory import hand_back_freed_memory, keep_freed_memory

def resident():
    return 1024 * int(open("/proc/self/status").read().partition("VmRSS:")[2].split()[0])

assert keep_freed_memory()
freed = torch.ones(2**26)  # 256 MB
held = torch.ones(2**18)
del freed
before = resident()
hand_back_freed_memory()
print(before - resident())
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) > 2**27


def test_peak_memory_is_this_processes_own() -> None:
    program = "from medsize.handlers.peak_memory import peak_bytes; print(peak_bytes())"
    parent = f"held = bytearray(2**30); import subprocess, sys; subprocess.run([sys.executable, '-c', {program!r}])"
    run = subprocess.run([sys.executable, "-c", parent], capture_output=True, text=True, check=True)
    assert 2**24 < int(run.stdout) < 2**30
