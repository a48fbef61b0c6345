"""A real PostgreSQL server of one test run: made in a temporary folder, reached by a socket in it.

Started as an unprivileged user, which the server insists on; needs Debian's `postgresql` or any
installation whose programs are in PATH.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

OPTIONS = {
    "listen_addresses": "",
    "max_connections": "60",
    "shared_buffers": "16MB",
    "log_min_messages": "fatal",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}


def programs() -> Path | None:
    """The folder with the server's programs, newest version first."""
    versions = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    found = sorted(versions, key=lambda path: float(path.parts[-3]), reverse=True)
    in_path = shutil.which("postgres")
    if in_path is not None:
        found.append(Path(in_path).resolve())
    return next((one.parent for one in found if (one.parent / "initdb").exists()), None)


def unprivileged() -> str | None:
    """Whom to run the server as where this user is root."""
    import pwd

    names = {one.pw_name for one in pwd.getpwall()}
    return next((name for name in ("postgres", "nobody") if name in names), None)


def missing() -> str | None:
    """Why no server can be started here, None if one can."""
    if sys.platform == "win32":
        return "the test's PostgreSQL is reached by a Unix socket"
    if importlib.util.find_spec("psycopg") is None:
        return "psycopg is not installed"
    if programs() is None:
        return "PostgreSQL is not installed"
    if os.geteuid() == 0 and unprivileged() is None:
        return "PostgreSQL does not run as root, and there is no other user"
    return None


class Postgres:
    """One server."""

    def __init__(self) -> None:
        self.bin = programs() or Path()
        self.folder = Path(tempfile.mkdtemp(prefix="svcport-pg-"))
        self.process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count()
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            user = unprivileged()
            self._as = {"user": user, "group": _group(user), "extra_groups": []}
            shutil.chown(self.folder, user)
        data = ["-D", str(self.folder / "data")]
        self._run([str(self.bin / "initdb"), *data, "-A", "trust", "-U", "svcport", "-N"])
        self.start()

    def _run(self, command: Sequence[str]) -> None:
        subprocess.run(command, check=True, capture_output=True, cwd=self.folder, **self._as)

    def start(self) -> None:
        options = {**OPTIONS, "unix_socket_directories": str(self.folder)}
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        self.process = subprocess.Popen(
            [str(self.bin / "postgres"), "-D", str(self.folder / "data"), *settings],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
            **self._as,
        )
        until = time.monotonic() + 30
        while not self._answers():
            assert self.process.poll() is None, "the server ended by itself"
            assert time.monotonic() < until, "the server does not answer"
            time.sleep(0.05)

    def _answers(self) -> bool:
        import psycopg

        try:
            self.admin("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def crash(self) -> None:
        """Stop without a checkpoint, as by a power cut of the server program."""
        self._stop(signal.SIGQUIT)

    def _stop(self, how: int) -> None:
        assert self.process is not None
        self.process.send_signal(how)
        self.process.wait(20)

    def close(self) -> None:
        self._stop(signal.SIGQUIT)  # nobody needs what it would write before a slow end
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def url(self) -> str:
        return f"postgresql://svcport@/postgres?host={self.folder}"

    def new_database(self) -> str:
        """The URL of a schema that holds nothing yet: for a ledger, a database of its own."""
        name = f"ledger{next(self._numbers)}"
        self.admin(f"CREATE SCHEMA {name}")
        return f"{self.url}&options=-csearch_path%3D{name}"

    def admin(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as link:
            link.execute(statement)  # type: ignore[arg-type]

    def cut_connections(self) -> None:
        """Every connection but this one's is gone at once."""
        self.admin(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )


def _group(user: str | None) -> int:
    import pwd

    assert user is not None
    return pwd.getpwnam(user).pw_gid
