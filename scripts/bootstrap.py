"""Make the environment from a lock file, then run a command in it. Standard library only.

Usage: bootstrap.py LOCK COMMAND [ARG ...]

The environment lives in `.venv` (or `$ROUNDTRIP_VENV`). It is rebuilt only when the lock file or the interpreter
changes, so a second start needs neither time nor network. A file lock lets several first starts run at once.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
VENV = pathlib.Path(os.environ.get("ROUNDTRIP_VENV", ROOT / ".venv"))


def stamp_of(lock: pathlib.Path) -> str:
    """What the environment was made from: the lock's content and the interpreter's version."""
    return f"{lock.name} {hashlib.sha256(lock.read_bytes()).hexdigest()} {sys.version_info[:2]}"


def up_to_date(wanted: str) -> bool:
    """The developers' environment holds everything the service needs, so it serves for both."""
    stamps = VENV / "stamps"
    return stamps.exists() and wanted in stamps.read_text().splitlines()


def build(lock: pathlib.Path) -> None:
    python = VENV / "bin" / "python"
    if not python.exists():
        print("roundtrip: making the environment in", VENV, file=sys.stderr, flush=True)
        made = subprocess.run([sys.executable, "-m", "venv", str(VENV)], stdout=sys.stderr)
        if made.returncode:
            sys.exit("roundtrip: python's venv module failed; on Debian or Ubuntu install the package python3-venv")
    print(f"roundtrip: installing {lock.name}", file=sys.stderr, flush=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run([*pip, "--require-hashes", "-r", str(lock)], stdout=sys.stderr)
    if done.returncode:
        sys.exit(
            f"roundtrip: installing {lock.name} failed; it needs the package index once, later starts work offline"
        )
    for site in VENV.glob("lib/python*/site-packages"):
        (site / "roundtrip.pth").write_text(f"{ROOT}\n")
    command = VENV / "bin" / "roundtrip"
    command.write_text(f'#!/bin/sh\nexec "{python}" -m app.cli "$@"\n')
    command.chmod(0o755)


def ensure(lock: pathlib.Path) -> None:
    wanted = stamp_of(lock)
    if up_to_date(wanted):
        return
    VENV.parent.mkdir(parents=True, exist_ok=True)
    with open(VENV.parent / f"{VENV.name}.lock", "w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if up_to_date(wanted):
            return
        build(lock)
        stamps = [wanted]
        if lock.name == "requirements-dev.lock":
            stamps.append(stamp_of(ROOT / "requirements.lock"))
        (VENV / "stamps").write_text("\n".join(stamps) + "\n")


def main() -> None:
    lock, command = ROOT / sys.argv[1], sys.argv[2:]
    ensure(lock)
    os.environ["PATH"] = f"{VENV / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    os.environ["VIRTUAL_ENV"] = str(VENV)
    os.environ.pop("PYTHONHOME", None)
    if command:
        os.execvp(command[0], command)


main()
