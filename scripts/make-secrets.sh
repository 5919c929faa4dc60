#!/usr/bin/env bash
# Makes the passwords that docker-compose.yml reads, in ./secrets (or in the folder that is named),
# readable by their owner alone. What is there already stays as it is.
set -euo pipefail

folder=${1:-"$(cd "$(dirname "$0")/.." && pwd)/secrets"}
umask 077
mkdir -p "$folder"

random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

if [ ! -e "$folder/database.env" ] && [ ! -e "$folder/broker.env" ]; then
    password=$(random)
    echo "POSTGRES_PASSWORD=$password" >"$folder/database.env"
    echo "COFFERDAM__DATABASE__URL=postgres://cofferdam:$password@database/cofferdam" >"$folder/broker.env"
    echo "made $folder/database.env and $folder/broker.env"
fi
if [ ! -e "$folder/grafana.env" ]; then
    echo "GF_SECURITY_ADMIN_PASSWORD=$(random)" >"$folder/grafana.env"
    echo "made $folder/grafana.env"
fi
