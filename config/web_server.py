"""The web server: granian with bounded threads, which ends with all its processes.

granian shares its port through SO_REUSEPORT. When its main process is killed, its children would go
on serving old code beside a newly started server. Here the kernel kills them with their parent, and
a server does not start on a port that is taken. SIGTERM first turns /readyz to 503, so that a proxy
sends new requests elsewhere, and stops the server some seconds later.
"""

from __future__ import annotations

import copy
import ctypes
import multiprocessing
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from django.conf import settings
from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.log import LogLevels
from granian.server.mp import MPServer

from config.draining import drain_when
from generation.core.parent_death import die_with_parent

TARGET = "config.wsgi:application"
# Answer probes and refusals while all other threads are busy.
SPARE_THREADS = 4
# Seconds. The kernel needs some time to end the processes of a killed server.
PORT_FREE_WITHIN = 5.0


@dataclass(frozen=True, kw_only=True)
class Options:
    """The size of the web server, and how it stops. Times are in seconds."""

    host: str
    port: int
    processes: int
    threads: int
    backlog: int
    drain: float
    grace: int
    log_level: str
    certificate: Path | None  # with both, the server speaks TLS 1.2 or newer, and no HTTP
    key: Path | None


class DrainingServer(MPServer):
    """granian, which still accepts requests for some seconds after SIGTERM or SIGINT."""

    def __init__(self, options: Options) -> None:
        super().__init__(
            TARGET,
            address=options.host,
            port=options.port,
            interface=Interfaces.WSGI,
            http=HTTPModes.http1,  # proxies use HTTP/1.1, and nobody needs it unencrypted
            websockets=False,
            workers=options.processes,
            blocking_threads=options.threads + SPARE_THREADS,
            backlog=options.backlog,
            respawn_failed_workers=True,
            workers_kill_timeout=options.grace,
            ssl_cert=options.certificate,
            ssl_key=options.key,
            ssl_protocol_min=SSLProtocols.tls12,
            log_level=LogLevels(options.log_level.lower()),
            log_dictconfig=copy.deepcopy(settings.LOGGING),
        )
        self.drain_seconds = options.drain
        self.draining = multiprocessing.RawValue(ctypes.c_bool, False)

    def signal_handler_interrupt(self, *args: int | FrameType | None) -> None:
        """Stop after the drain time; at once if a second signal arrives."""
        stop: Callable[[], None] = super().signal_handler_interrupt
        if self.draining.value or not self.drain_seconds:
            stop()
            return
        self.draining.value = True
        timer = threading.Timer(self.drain_seconds, stop)
        timer.daemon = True
        timer.start()

    def run(self) -> None:
        """Serve until a signal arrives. Raises SystemExit if the processes keep crashing."""
        loader = partial(load_application, os.getpid(), self.draining)
        self.serve(target_loader=loader, wrap_loader=False)


def load_application(parent: int, draining: Any) -> Callable[..., Any]:
    """Prepare a web process, and return Loupe's WSGI application. Runs first in each process."""
    die_with_parent(parent, signal.SIGKILL)
    drain_when(lambda: bool(draining.value))
    from config.wsgi import application

    return application


def find_port_problem(host: str, port: int) -> str:
    """Return why the port cannot be used; "" if it is free.

    granian itself would not notice another server: both would get a share of the requests.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.strerror or str(error)
    return ""


def find_tls_problem(certificate: Path | None, key: Path | None) -> str:
    """Return why the server cannot use this certificate with this key; "" if it can."""
    if certificate is None or key is None:
        return ""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # A password would be asked for at the terminal; services have none.
        context.load_cert_chain(certificate, key, password="")
    except OSError as error:
        return error.strerror or str(error)
    return ""


def wait_for_port(host: str, port: int) -> str:
    """Wait some seconds for the port; return why it cannot be used, or ""."""
    deadline = time.monotonic() + PORT_FREE_WITHIN
    while (problem := find_port_problem(host, port)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return problem
