# Finds a Python of 3.11 or newer; sourced by the other scripts. Sets $python and $root.
root=$(cd "$(dirname "$0")/.." && pwd)
python=
for candidate in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11 python; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "roundtrip: Python 3.11 or newer is needed; set PYTHON to one" >&2
    exit 1
fi
