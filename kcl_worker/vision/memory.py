"""How much memory this task may use, and how much of it frames may take."""

from __future__ import annotations

import os
import re
import resource
import sys
from pathlib import Path
from typing import Final

from kcl_worker.heap import heap_mib
from kcl_worker.settings import Settings
from kcl_worker.vision.cpu import CGROUP, MEMBERSHIP, folders

MIB: Final = 2**20
# What a JVM takes beside its heap: classes, threads, buffers.
_JVM_OVERHEAD: Final = 128 * MIB
# For record processors, for copies that live for a moment, for what allocators keep.
_KEPT_BACK: Final = 1 / 3
# So much at least, or nothing would be processed at all: ten frames of 1920x1080.
LEAST_FRAME_MEMORY: Final = 160 * MIB


def available_memory(cgroup: Path = CGROUP, membership: Path = MEMBERSHIP) -> int:
    """Bytes by the control group's limit (version 2's `memory.max`, 1's `memory.limit_in_bytes`) and by the machine."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = (_limit(folder) for folder in folders("memory", cgroup, membership))
    return min([machine, *(limit for limit in limits if limit)])


def with_heap(settings: Settings) -> Settings:
    """Settings with the size of the daemon's heap, where it was left to the task's memory."""
    heap = settings.java_heap_mib or heap_mib(_task_memory(settings) // MIB)
    return settings.model_copy(update={"java_heap_mib": heap})


def frame_memory(settings: Settings) -> int:
    """Bytes for frames at work, of all shards together; to be asked when the model is loaded.

    Of a task's memory, what neither this process has nor the daemon may take; a third of that is kept back.
    """
    free = _task_memory(settings) - peak_resident() - with_heap(settings).java_heap_mib * MIB - _JVM_OVERHEAD
    return max(LEAST_FRAME_MEMORY, round(free * (1 - _KEPT_BACK)))


def peak_resident() -> int:
    """Bytes of this process, at its peak so far.

    On Linux `ru_maxrss` will not do: it is never less than what the process that started this one had taken.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        status = ""
    if own := re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE):
        return int(own[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _task_memory(settings: Settings) -> int:
    return settings.task_memory_mib * MIB or available_memory()


def _limit(folder: Path) -> int | None:
    for name in ("memory.max", "memory.limit_in_bytes"):
        try:
            text = (folder / name).read_text().strip()
        except OSError:
            continue
        return int(text) if text.isdigit() else None  # "max": none
    return None
