"""What no linter knows: lock files without hosts, no path of a machine, commits only in db.py."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_COMMIT = re.compile(r"\.(commit|begin_nested)\(\)")
_MACHINE = re.compile(r"(?<![\w.])/(work|root|home/\w+)/\w")
_MAY_COMMIT = {"app/db.py", "app/migrate.py"}


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", *patterns], cwd=ROOT, capture_output=True, text=True
    )
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


def findings() -> list[str]:
    found = []
    for lock in tracked("requirements*.lock"):
        if "://" in lock.read_text():
            found.append(f"{lock.name}: names a host")
    for path in tracked("*.py", "*.md", "*.toml", "*.sql", "*.sh", "scripts/*", "Dockerfile"):
        name, text = path.relative_to(ROOT).as_posix(), path.read_text(errors="replace")
        if name != "scripts/check_repository.py" and _MACHINE.search(text):
            found.append(f"{name}: names a path of one machine")
        if name.startswith("app/") and name not in _MAY_COMMIT and _COMMIT.search(text):
            found.append(f"{name}: commits; only app/db.py may (promise 10)")
    return found


def main() -> None:
    found = findings()
    print("\n".join(found) or "repository: nothing found")
    sys.exit(1 if found else 0)


main()
