import functools
import logging
import os
import resource

from odoo.service.server import WorkerCron

_logger = logging.getLogger(__name__)


# Before each unit of work a worker may use limit_time_cpu more seconds, whether the work is a
# request or all jobs that are due. Odoo has an option for the real time of jobs, and none for this.
def limited(check_limits, seconds):
    @functools.wraps(check_limits)
    def _check_limits(self):
        check_limits(self)
        used = resource.getrusage(resource.RUSAGE_SELF)
        end = int(used.ru_utime + used.ru_stime + seconds)
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (end, hard))

    return _check_limits


# Odoo's own handler logs limit_time_cpu. The exception ends the worker, and another one begins.
def expired(seconds):
    def signal_time_expired_handler(self, number, stack):
        _logger.info("Worker (%d) CPU time limit of jobs (%s) reached.", self.pid, seconds)
        raise Exception("CPU time limit exceeded.")

    return signal_time_expired_handler


def limit(seconds):
    for name in ("check_limits", "signal_time_expired_handler"):
        if not hasattr(WorkerCron, name):
            raise ImportError(f"this version of Odoo has no {name}, so jobs keep limit_time_cpu")
    WorkerCron.check_limits = limited(WorkerCron.check_limits, seconds)
    WorkerCron.signal_time_expired_handler = expired(seconds)


if os.environ.get("SALINA_CRON_CPU"):
    limit(int(os.environ["SALINA_CRON_CPU"]))
