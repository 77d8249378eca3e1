"""Resource limits of this process: file descriptors and core dumps."""

import resource
from contextlib import suppress


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open files to the hard one, if permitted; return the limit that holds."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def disable_core_dumps() -> None:
    """Keep this process's memory, which holds keys and tokens, off the disk after a crash."""
    with suppress(OSError):  # a sandbox that forbids setrlimit sets the limit itself
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
