#!/bin/sh
# Does with Debian's PostgreSQL what the image of that name does with the variables that deploy/compose.yaml sets.
set -eu
data=/var/lib/postgresql/data
as() { setpriv --reuid postgres --regid postgres --init-groups "$@"; }
export PATH="/usr/lib/postgresql/15/bin:$PATH"
if [ ! -s "$data/PG_VERSION" ]; then
  chown postgres:postgres "$data"
  chmod 0700 "$data"
  as initdb --pgdata "$data" --username "$POSTGRES_USER" --auth-local trust --encoding UTF8 >/dev/null
  echo "host all all all $POSTGRES_HOST_AUTH_METHOD" >>"$data/pg_hba.conf"
  as pg_ctl --pgdata "$data" --silent --wait start -o "-c listen_addresses=''"
  if [ "${POSTGRES_DB:-$POSTGRES_USER}" != postgres ]; then
    as createdb --username "$POSTGRES_USER" "${POSTGRES_DB:-$POSTGRES_USER}"
  fi
  as pg_ctl --pgdata "$data" --silent --wait stop
fi
[ "${1:-postgres}" = postgres ] && [ $# -gt 0 ] && shift
exec setpriv --reuid postgres --regid postgres --init-groups postgres -D "$data" -c listen_addresses='*' "$@"
