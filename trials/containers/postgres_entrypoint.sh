#!/bin/sh
# What the official image does with the variables that docker-compose.yml sets, its first start on a
# socket alone included: the database is made while it cannot be reached over the network.
set -eu
: "${PGDATA:=/var/lib/postgresql/data}"
PATH=$(ls -d /usr/lib/postgresql/*/bin):$PATH
as() { setpriv --reuid postgres --regid postgres --clear-groups "$@"; }
mkdir -p "$PGDATA" /run/postgresql
chown postgres "$PGDATA" /run/postgresql
chmod 700 "$PGDATA"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  cp "$POSTGRES_PASSWORD_FILE" /tmp/password
  chown postgres /tmp/password
  as initdb -D "$PGDATA" -U "$POSTGRES_USER" --pwfile=/tmp/password -A scram-sha-256 --locale=C.UTF-8 >/dev/null
  rm /tmp/password
  echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
  sed -i 's/^local.*/local all all trust/' "$PGDATA/pg_hba.conf"
  as pg_ctl -D "$PGDATA" -o '-c listen_addresses=' -w start >/dev/null
  as psql -qh /var/run/postgresql -U "$POSTGRES_USER" -d postgres -c "CREATE DATABASE \"$POSTGRES_DB\""
  as pg_ctl -D "$PGDATA" -m fast -w stop >/dev/null
fi
exec setpriv --reuid postgres --regid postgres --clear-groups postgres -D "$PGDATA" -c 'listen_addresses=*'
