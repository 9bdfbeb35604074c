#!/bin/sh
# Of the container: makes a cluster in the volume if there is none, and runs its server.
set -eu

bin=$(ls -d /usr/lib/postgresql/*/bin | tail -n 1)
data=/var/lib/postgresql/data
if [ ! -s "$data/PG_VERSION" ]; then
	"$bin/initdb" -D "$data" -k --auth-local=peer --auth-host=scram-sha-256
	{
		echo "listen_addresses = '*'"
		echo "shared_preload_libraries = 'rowan'"
		echo "rowan.buffers = ${ROWAN_BUFFERS:-128MB}"
	} >> "$data/postgresql.conf"
	"$bin/pg_ctl" -D "$data" -w -o "-c listen_addresses=''" start >/dev/null
	for database in template1 postgres; do
		psql -Xqd "$database" -c 'CREATE EXTENSION rowan'
	done
	"$bin/pg_ctl" -D "$data" -w stop >/dev/null
fi
exec "$bin/postgres" -D "$data"
