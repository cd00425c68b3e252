"""
The warning for those who run several workers and forgot the storage: each of them would run every job.
"""

import logging
import os
import sys
from collections.abc import Mapping

_logger = logging.getLogger("chrono_async")

_ADVICE = (
    "this scheduler keeps its jobs in memory, and this process looks like one of several workers (%s): "
    "each worker will run every job. Give them a storage to share, for instance "
    'AsyncScheduler(storage=FileStorage("jobs.yaml")), and each due time runs once'
)


def warn_if_one_of_several() -> None:
    """Say so, once for each scheduler that is started so."""
    sign = sign_of_workers(
        os.environ,
        is_gunicorn="gunicorn.arbiter" in sys.modules,
        has_parent=_has_parent(),
    )
    if sign:
        _logger.warning(_ADVICE, sign)


def _has_parent() -> bool:
    """Whether multiprocessing has started this process: it has then been imported, which is dear to do for nothing."""
    process = sys.modules.get("multiprocessing.process")
    return process is not None and process.parent_process() is not None


def sign_of_workers(environ: Mapping[str, str], *, is_gunicorn: bool, has_parent: bool) -> str | None:
    """Return what tells that this process has siblings, or None."""
    count = environ.get("WEB_CONCURRENCY", "")
    if count.isascii() and count.isdigit() and int(count) > 1:
        return f"WEB_CONCURRENCY={count}"
    if is_gunicorn:
        return "gunicorn has started it"
    return "multiprocessing has started it, as uvicorn --workers does" if has_parent else None
