"""Dask workers that run cells: on this machine, on a batch system, or at a scheduler's address."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

from medsize.studies.robustness.study import Cluster

__all__ = ["batch_cluster", "connected", "local_workers"]


@contextmanager
def connected(
    scheduler: str | None = None, cluster: Cluster | None = None, workers: int | None = None
) -> Iterator[tuple[Any, int]]:
    """
    Provide a Dask client, and keep its cluster as long as it is used.

    Args:
        scheduler: address of a scheduler whose workers see the same folders and have medsize, with one thread each.
            It is left running.
        cluster: batch system that starts the workers, if there is no scheduler.
        workers: number of workers on this machine, if there is neither. Default: one for each GPU, else for each core.

    Yields:
        a ``distributed.Client``, and the number of cells that run at a time.

    Raises:
        ValueError: when Dask is not installed, or nothing answers at the address.
    """
    try:
        import dask
        from distributed import Client, SpecCluster
    except ImportError as e:
        raise ValueError("Dask is missing: pip install 'medsize[cluster]'") from e
    context: Any
    if scheduler is not None:
        context = nullcontext(scheduler)
    elif cluster is not None:
        context = batch_cluster(cluster)
    else:
        context = SpecCluster(**local_workers(workers), silence_logs=logging.ERROR)
    with dask.config.set({"distributed.comm.timeouts.connect": "20s"}), context as address:
        if scheduler is None and cluster is not None:
            address.scale(jobs=cluster.workers)
        try:
            client = Client(address, set_as_default=False)
        except OSError as e:
            raise ValueError(f"no Dask scheduler answers at {address}: {e}") from e
        with client:
            if scheduler is not None:
                count = sum(client.nthreads().values())
            else:
                count = cluster.workers if cluster is not None else len(address.worker_spec)
            yield client, max(count, 1)


def local_workers(count: int | None = None) -> dict[str, Any]:
    """
    Return arguments of ``distributed.SpecCluster``: workers of one thread, each with a GPU or a core of its own.

    Args:
        count: number of workers. Default: one for each GPU, else one for each core.
    """
    from distributed import Nanny, Scheduler

    gpus = _gpus()
    count = count or len(gpus) or os.cpu_count() or 1
    workers = {}
    for i in range(count):
        environment = {"CUDA_VISIBLE_DEVICES": gpus[i % len(gpus)]} if gpus else {"OMP_NUM_THREADS": "1"}
        worker: dict[str, Any] = {
            "nthreads": 1,
            "memory_limit": 0,
            "dashboard": False,
            "silence_logs": logging.ERROR,
            "env": environment,
        }
        workers[i] = {"cls": Nanny, "options": worker}
    # Any free port for its web pages, too: two studies may run at once.
    options = {"dashboard": False, "dashboard_address": "127.0.0.1:0", "host": "127.0.0.1", "port": 0}
    scheduler = {"cls": Scheduler, "options": options}
    return {"scheduler": scheduler, "workers": workers}


def batch_cluster(cluster: Cluster) -> Any:
    """
    Make a cluster of dask-jobqueue, without workers yet; it will submit its ``job_script()``.

    Raises:
        ValueError: when dask-jobqueue is not installed, or does not know an option.
    """
    try:
        import dask_jobqueue
    except ImportError as e:
        raise ValueError("dask-jobqueue is missing: pip install 'medsize[cluster]'") from e
    kind = {"slurm": dask_jobqueue.SLURMCluster, "pbs": dask_jobqueue.PBSCluster}[cluster.system]
    options = {"cores": 1, "processes": 1, "memory": cluster.memory, **cluster.options}
    try:
        return kind(**options)
    except (TypeError, ValueError) as e:
        raise ValueError(f"cluster: {e}") from e


def _gpus() -> list[str]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not torch.cuda.is_available():
        return []
    return visible.split(",") if visible else [str(i) for i in range(torch.cuda.device_count())]
