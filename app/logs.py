"""JSON lines on stderr. Only what is named is logged: never headers, cookies, bodies or keys."""

import logging
import sys
import time

import structlog
from flask import Flask, Response, g, request

log = structlog.get_logger()


def configure() -> None:
    """Render every message as one JSON object."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=lambda *_: _Stderr(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )


class _Stderr:
    """The stream is looked up at every message: servers and tests replace it. A line is one write."""

    def msg(self, message: str) -> None:
        sys.stderr.write(message + "\n")
        sys.stderr.flush()

    debug = info = warning = error = critical = msg


def init_app(app: Flask) -> None:
    configure()
    app.before_request(_start)
    app.after_request(_finish)


def _start() -> None:
    g.started = time.perf_counter()


def _finish(response: Response) -> Response:
    # The path without its query: a query may carry what somebody searched for.
    if request.endpoint not in ("static", "health.healthz"):
        log.info(
            "request",
            method=request.method,
            path=request.path,
            status=response.status_code,
            ms=round((time.perf_counter() - g.get("started", time.perf_counter())) * 1000),
        )
    return response
