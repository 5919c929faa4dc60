#!/usr/bin/env bash
# A PostgreSQL of its own for the tests: loopback only, data in a temporary folder, nothing of it
# outlives `stop`. The server refuses to run as root, so root runs it as user postgres.
#
#   scripts/postgres-for-tests.sh start FOLDER    starts it, prints the URL for COFFERDAM_TEST_POSTGRES
#   scripts/postgres-for-tests.sh stop  FOLDER    stops it and removes FOLDER
#   scripts/postgres-for-tests.sh crash FOLDER    stops it at once, as a power cut would
#   scripts/postgres-for-tests.sh again FOLDER    starts it again on the same port and data
#   scripts/postgres-for-tests.sh tls   FOLDER    starts it again with tls.crt and tls.key of FOLDER, and
#                                                 from then on it takes no connection without TLS
set -euo pipefail

usage() {
    sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

[ $# -eq 2 ] || usage
folder=$2
data=$folder/data

# The newest version that is installed; Debian keeps the server's programs out of PATH.
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1 || true)
if [ -z "$bin" ]; then
    initdb=$(command -v initdb) || {
        echo "postgres-for-tests: no PostgreSQL server found; apt-get install postgresql" >&2
        exit 1
    }
    bin=$(dirname "$initdb")
fi

as_owner() {
    if [ "$(id -u)" -eq 0 ]; then
        (cd / && runuser -u postgres -- "$@")
    else
        "$@"
    fi
}

launch() {
    as_owner "$bin/pg_ctl" -D "$data" -l "$folder/log" -w -t 60 start >/dev/null || {
        cat "$folder/log" >&2
        exit 1
    }
}

# A port that nobody listens on now, below the range that the system hands out by itself.
free_port() {
    for _ in $(seq 100); do
        port=$((20000 + RANDOM % 10000))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
    done
    echo "postgres-for-tests: no free port" >&2
    exit 1
}

case $1 in
start)
    mkdir -p "$folder"
    if [ "$(id -u)" -eq 0 ]; then
        chown postgres "$folder"
    fi
    as_owner "$bin/initdb" -D "$data" -U cofferdam -A trust -E UTF8 --locale=C -N >/dev/null
    port=$(free_port)
    # Nothing here has to outlive the tests, but fsync stays on: a crash is one of the tests.
    as_owner tee -a "$data/postgresql.conf" >/dev/null <<-CONF
		listen_addresses = '127.0.0.1'
		port = $port
		unix_socket_directories = ''
		max_connections = 300
		shared_buffers = '64MB'
	CONF
    launch
    echo "postgres://cofferdam@127.0.0.1:$port/postgres"
    ;;
stop)
    as_owner "$bin/pg_ctl" -D "$data" -m fast -w stop >/dev/null || true
    rm -rf "$folder"
    ;;
crash)
    as_owner "$bin/pg_ctl" -D "$data" -m immediate -w stop >/dev/null
    ;;
again)
    launch
    ;;
tls)
    as_owner "$bin/pg_ctl" -D "$data" -m fast -w stop >/dev/null
    cp "$folder/tls.crt" "$folder/tls.key" "$data"
    if [ "$(id -u)" -eq 0 ]; then
        chown postgres "$data/tls.crt" "$data/tls.key"
    fi
    chmod 600 "$data/tls.key"
    as_owner tee -a "$data/postgresql.conf" >/dev/null <<-CONF
		ssl = on
		ssl_cert_file = 'tls.crt'
		ssl_key_file = 'tls.key'
	CONF
    echo "hostssl all all 127.0.0.1/32 trust" | as_owner tee "$data/pg_hba.conf" >/dev/null
    launch
    ;;
*)
    usage
    ;;
esac
