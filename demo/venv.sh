#!/bin/sh
# Make .venv and install the project into it; without a change since the last time, do nothing.
# PYTHON=... chooses the interpreter of a new .venv.
set -eu

cd "$(dirname "$0")/.."
venv=.venv
stamp=$venv/installed
# Newest first; python3 may be any, and of 3.14 dbt 1.11 knows nothing yet.
PYTHONS='python3.13 python3.12 python3.11 python3 python3.14'

wanted() {
    pwd
    cat pyproject.toml constraints.txt
}

recent() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

choose_python() {
    if [ -n "${PYTHON:-}" ]; then set -- "$PYTHON"; else set -- $PYTHONS; fi
    for python in "$@"; do
        recent "$python" && return
    done
    echo "Install Python 3.11 or newer: none of $* is one." >&2
    exit 2
}

bootstrap_pip() {
    if ! $venv/bin/python -c 'import ensurepip' 2>/dev/null; then
        # Debian without python3-venv; its pip comes as a wheel, and a wheel of pip can be run.
        unpacked=$($venv/bin/python -m services.binaries --package python3-pip-whl)
        set -- "$unpacked"/usr/share/python-wheels/pip-*.whl
        $venv/bin/python "$1/pip" install --quiet --no-index "$1"
        return
    fi
    $venv/bin/python -m ensurepip --default-pip >/dev/null
}

if [ -f $stamp ] && wanted | cmp -s - $stamp; then
    exit 0
fi
if ! recent $venv/bin/python; then
    choose_python
    "$python" -m venv --clear --without-pip $venv
fi
$venv/bin/python -m pip --version >/dev/null 2>&1 || bootstrap_pip
echo "Installing into $(pwd)/$venv" >&2
rm -f $stamp
$venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input \
    -c constraints.txt -e '.[postgres,demo,dev,docs]'
wanted >$stamp
