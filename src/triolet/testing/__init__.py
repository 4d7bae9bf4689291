"""What an app's own tests, and a log of one's own, can stand on."""

from .logs import LOG_CHECKS, LogCheck, LogFactory, check_log

__all__ = ["LOG_CHECKS", "LogCheck", "LogFactory", "check_log"]
