#!/usr/bin/env bash
# Runs a command with a throw-away PostgreSQL server beside it:
#     scripts/with-postgres.sh cargo test
# The command finds the server's address in COFFERDAM_TEST_POSTGRES. Where that is set already,
# nothing is started. The server listens on a free loopback port, lives in a temporary directory
# and is gone when the command ends.
set -euo pipefail

if [ -n "${COFFERDAM_TEST_POSTGRES:-}" ]; then
    exec "$@"
fi

bin=$(compgen -G '/usr/lib/postgresql/*/bin' | sort -V | tail -n 1 || true)
[ -n "$bin" ] || bin=$(dirname "$(command -v initdb || true)")
if [ ! -x "$bin/initdb" ]; then
    echo "with-postgres.sh: no PostgreSQL here; scripts/install-test-needs.sh installs it" >&2
    exit 1
fi

directory=$(mktemp -d)
# PostgreSQL refuses to run as root.
as_owner() { "$@"; }
if [ "$(id -u)" -eq 0 ]; then
    chown postgres "$directory"
    as_owner() { (cd "$directory" && setpriv --reuid=postgres --regid=postgres --init-groups -- "$@"); }
fi

server=
stop() {
    status=$?
    if [ -n "$server" ]; then
        as_owner "$bin/pg_ctl" --pgdata="$directory/data" --mode=immediate --silent stop || true
    fi
    if [ "$status" -ne 0 ] && [ -s "$directory/log" ]; then
        echo "--- the last lines of PostgreSQL's log ---" >&2
        tail -n 20 "$directory/log" >&2
    fi
    rm -rf "$directory"
}
trap stop EXIT

password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
as_owner sh -c "umask 077 && printf %s '$password' > '$directory/password'"
as_owner "$bin/initdb" --pgdata="$directory/data" --username=cofferdam --pwfile="$directory/password" \
    --auth=scram-sha-256 --encoding=UTF8 --no-locale --no-sync >/dev/null

# A port that is taken shows at once, and another one is tried.
for _ in 1 2 3 4 5; do
    port=$((20000 + $(od -An -N2 -tu2 /dev/urandom) % 12000))
    if as_owner "$bin/pg_ctl" --pgdata="$directory/data" --log="$directory/log" --silent --wait \
        --options="-h 127.0.0.1 -p $port -k $directory -c fsync=off -c max_connections=200" start; then
        server=yes
        break
    fi
done
if [ -z "$server" ]; then
    echo "with-postgres.sh: PostgreSQL did not start" >&2
    exit 1
fi
PGPASSWORD="$password" "$bin/createdb" -h 127.0.0.1 -p "$port" -U cofferdam cofferdam

export COFFERDAM_TEST_POSTGRES="postgres://cofferdam:$password@127.0.0.1:$port/cofferdam"
"$@"
