"""Loggers as they were: what the command sets up is for a process, and a test is only a part of one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from triolet.workers.logs import LOGGERS

__all__ = ["kept_as_they_were"]


@contextmanager
def kept_as_they_were() -> Iterator[None]:
    """Put the root logger and ours back at the end of a block."""
    loggers = [logging.getLogger(), *map(logging.getLogger, LOGGERS)]
    before = [
        (logger.level, logger.filters[:], logger.handlers[:], logger.disabled, type(logger)) for logger in loggers
    ]
    try:
        yield
    finally:
        for logger, (level, filters, handlers, disabled, kind) in zip(loggers, before, strict=True):
            logger.__class__ = kind
            if logger.level != level:  # to set it has each logger that there is forget what it knows
                logger.setLevel(level)
            logger.filters[:], logger.handlers[:], logger.disabled = filters, handlers, disabled
