#!/usr/bin/env bash
# Installs what the tests of real components need and what is missing here: Debian packages when
# it is root, npm packages from the lockfile, the Python client in a virtual environment.
# May be run again at any time; does nothing where nothing is missing. What it cannot install it
# names, and fails: a test must not be skipped in silence.
set -euo pipefail
cd "$(dirname "$0")/.."

have() { command -v "$1" >/dev/null 2>&1; }
have_file() { compgen -G "$1" >/dev/null; }

# --- programs, by the Debian package that has them -------------------------------------------------
missing=()
have_file '/usr/lib/postgresql/*/bin/initdb' || have initdb || missing+=(postgresql)
have mosquitto || [ -x /usr/sbin/mosquitto ] || missing+=(mosquitto)
have mosquitto_pub || missing+=(mosquitto-clients)
[ -n "${CHROMIUM_BIN:-}" ] || have chromium || missing+=(chromium)
have certutil || missing+=(libnss3-tools)
{ have prometheus && have promtool; } || missing+=(prometheus)
docker compose version >/dev/null 2>&1 || have docker-compose || missing+=(docker-compose)
python3 -c 'import ensurepip' >/dev/null 2>&1 || missing+=(python3 python3-venv)

if [ "${#missing[@]}" -gt 0 ]; then
    if [ "$(id -u)" -ne 0 ] || ! have apt-get; then
        echo "The tests of real components need what is missing here. As root on Debian:" >&2
        echo "    apt-get install --no-install-recommends ${missing[*]}" >&2
        exit 1
    fi
    echo "installing: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    # The tests start servers of their own: none of a package's is to start with it.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
    fi
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# --- the JavaScript clients ------------------------------------------------------------------------
if ! have node || [ "$(node -p 'process.versions.node.split(".")[0]')" -lt 20 ]; then
    echo "The tests with real clients need Node.js 20 or newer." >&2
    exit 1
fi
clients=tests/clients
if ! cmp -s "$clients/package-lock.json" "$clients/node_modules/.installed-from"; then
    echo "installing: the npm packages of $clients"
    (cd "$clients" && npm ci --ignore-scripts --no-progress --loglevel=error)
    cp "$clients/package-lock.json" "$clients/node_modules/.installed-from"
fi

# --- the Python client -----------------------------------------------------------------------------
venv="$clients/.venv"
if ! cmp -s "$clients/requirements.txt" "$venv/.installed-from"; then
    echo "installing: the Python packages of $clients"
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$clients/requirements.txt"
    cp "$clients/requirements.txt" "$venv/.installed-from"
fi
