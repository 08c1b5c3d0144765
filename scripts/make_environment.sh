#!/usr/bin/env bash
# Makes (or brings up to date) the virtual environment that `make` uses. Usage: scripts/make_environment.sh .venv
# Fast when nothing has changed: the stamp in the environment names what it was made from.
set -euo pipefail
venv=$1
cd "$(dirname "$0")/.."
# Activated or not: the environment is never made from itself.
own=$(pwd)/$venv/bin
PATH=$(printf %s ":$PATH:" | sed "s|:$own:|:|g; s|^:||; s|:$||")
unset VIRTUAL_ENV
say() { printf '== %s\n' "$*" >&2; }
die() { printf '\nerror: %s\n' "$*" >&2; exit 1; }

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; }

# A virtual environment that is active may have an rclpy of its own; the one that is made here cannot see it.
sourced() { "$1" -c 'import sys, rclpy; sys.exit(sys.prefix != sys.base_prefix and rclpy.__file__.startswith(sys.prefix))' 2>/dev/null; }

# ROS 2's rclpy works only with the Python that it was built for, so where ROS 2 is sourced that one is taken.
if sourced python3 && new_enough python3; then
    ros=sourced
    python=$(command -v python3)
else
    ros=wheels
    python=
    for candidate in ${PYTHON:-python3.11 python3 python3.12 python3.13 python3.10}; do
        if new_enough "$candidate"; then
            python=$(command -v "$candidate")
            break
        fi
    done
    [ -n "$python" ] || die "no Python 3.10 or newer found (looked for: ${PYTHON:-python3.11, python3, python3.12, python3.13, python3.10}).
  On Debian or Ubuntu: sudo apt install python3 python3-venv
  Or name one: make PYTHON=/path/to/python3 ..."
    case "$(uname -s) $(uname -m)" in
    "Linux x86_64") ;;
    *) die "no ROS 2 is sourced, and its wheels exist for Linux on x86_64 only.
  Install ROS 2 (https://docs.ros.org), then: source /opt/ros/<distribution>/setup.bash" ;;
    esac
fi

base="$("$python" -c 'import sys; print(sys.version)' | tr '\n' ' ') $python, ROS 2: $ros"
files="pyproject.toml setup.py setup.cfg constraints.txt package.xml resource/* launch/* scripts/*"
# shellcheck disable=SC2086
stamp="$(cat $files robot_dreamer/__init__.py | sha256sum | cut -d' ' -f1) $(pwd)"
if [ -x "$venv/bin/python" ] && "$venv/bin/python" -c '' 2>/dev/null &&
    [ "$(cat "$venv/made-with" 2>/dev/null)" = "$base" ]; then
    [ "$(cat "$venv/stamp" 2>/dev/null)" != "$stamp" ] || exit 0
    say "updating the environment in $venv"
else
    say "making an environment in $venv with $("$python" --version), ROS 2: $ros"
    "$python" -c 'import ensurepip, venv' 2>/dev/null || die "this Python cannot make virtual environments.
  On Debian or Ubuntu: sudo apt install python3-venv   (or $(basename "$python")-venv)"
    rm -rf "$venv"
    if [ "$ros" = sourced ]; then
        "$python" -m venv --system-site-packages "$venv"
    else
        "$python" -m venv "$venv"
    fi
    printf '%s\n' "$base" >"$venv/made-with"
    touch "$venv/COLCON_IGNORE"
fi
rm -f "$venv/stamp"

extras=onnx-cpu,learner,sim,film,data,lerobot-data,hub,test,dev
[ "$ros" = sourced ] || extras=$extras,ros-wheels
pip() { "$venv/bin/python" -m pip "$@"; }
say "1/2 pip itself"
pip install --quiet --disable-pip-version-check "$(grep '^pip==' constraints.txt)"
say "2/2 robot_dreamer and what it needs (torch is large: the first time takes some minutes)"
pip install --disable-pip-version-check --no-input --progress-bar off \
    -c constraints.txt --build-constraint constraints.txt -e ".[$extras]" |
    sed -u -n -E 's/^ *((Downloading|Building wheel|Installing collected|Successfully).{0,110}).*/   \1/p' >&2 ||
    die "pip could not install everything; its messages above say why. Then run make again."
"$venv/bin/python" -c 'import rclpy, robot_dreamer' ||
    die "the installed environment does not work; see the error above"
printf '%s\n' "$stamp" >"$venv/stamp"
say "environment ready"
