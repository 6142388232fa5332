#!/bin/sh
# Makes .venv with the packages of requirements.txt, where it is missing or was made of another requirements.txt.
set -eu
cd "$(dirname "$0")"

if cmp -s requirements.txt .venv/requirements.txt && .venv/bin/python -c '' 2>/dev/null; then
  exit 0
fi
# The first python3 may be one that cannot make a virtual environment, beside one that can.
for python in python3 /usr/bin/python3 ''; do
  if [ -z "$python" ]; then
    echo "test: Python 3.11 or newer with venv and ensurepip is missing: install python3 and python3-venv" >&2
    exit 1
  fi
  if "$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    break
  fi
done
echo "test: the Python packages of tests/python are installed by pip"
rm -rf .venv
"$python" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.txt
# Last, so that an installation that was broken off is done again.
cp requirements.txt .venv/requirements.txt
