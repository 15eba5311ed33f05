from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from config import web_server


class Command(BaseCommand):
    help = (
        "Run the web server. SIGTERM turns /readyz to 503 and, after the drain time, stops the"
        " server when the requests in work are answered."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("--host", default=settings.WEB_HOST, help="address (default: %(default)s)")
        add("--port", type=int, default=settings.PORT, help="port (default: %(default)s)")
        add("--grace", type=int, default=30, help="seconds for requests in work at the end")
        add("--log-level", default=settings.LOG_LEVEL, help="of the server's own log lines")
        add(
            "--drain",
            type=float,
            default=settings.WEB_DRAIN_SECONDS,
            help="seconds between SIGTERM and the end of listening (default: %(default)s)",
        )

    def handle(self, *args: Any, host: str, port: int, **options: Any) -> None:
        if problem := web_server.wait_for_port(host, port):
            raise CommandError(
                f"Port {port} of {host} cannot be used: {problem}. Stop the server that uses it,"
                " or choose another port with --port."
            )
        certificate, key = settings.WEB_TLS_CERTIFICATE, settings.WEB_TLS_KEY
        if problem := web_server.find_tls_problem(certificate, key):
            raise CommandError(
                f"WEB_TLS_CERTIFICATE ({certificate}) or WEB_TLS_KEY ({key}) cannot be used:"
                f" {problem}. Both are PEM files that this user can read; the key has no password."
            )
        # Forked processes must share neither a connection nor a pool.
        connections.close_all()
        for connection in connections.all():
            getattr(connection, "close_pool", lambda: None)()  # of PostgreSQL only
        server = web_server.DrainingServer(
            web_server.Options(
                host=host,
                port=port,
                processes=settings.WEB_PROCESSES,
                threads=settings.WEB_THREADS,
                backlog=settings.WEB_BACKLOG,
                drain=options["drain"],
                grace=options["grace"],
                log_level=options["log_level"],
                certificate=certificate,
                key=key,
            )
        )
        server.run()
