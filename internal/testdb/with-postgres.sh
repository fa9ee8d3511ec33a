#!/bin/sh
# Runs a command with TEST_DATABASE_URL set: to a PostgreSQL of its own, in a
# temporary folder and on a free port, or to the one that is named there already.
set -eu
[ -z "${TEST_DATABASE_URL:-}" ] || exec "$@"

bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1) # where Debian keeps it, off the PATH
[ -n "$bin" ] || bin=$(dirname "$(command -v initdb)")
dir=$(mktemp -d)
as=
if [ "$(id -u)" = 0 ]; then # which PostgreSQL refuses to run as
	chown postgres "$dir"
	as="runuser -u postgres --"
fi
cd "$dir"
trap '$as "$bin/pg_ctl" -D "$dir/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM

password=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
echo "$password" >"$dir/password"
$as "$bin/initdb" -D "$dir/data" -U perch -A scram-sha-256 --pwfile="$dir/password" --no-sync >/dev/null
for try in 1 2 3 4 5; do
	port=$(shuf -i 40000-49999 -n 1)
	# The tests kill Perch, never PostgreSQL: it may leave its writes to the kernel. Who measures it says FSYNC=on.
	if $as "$bin/pg_ctl" -D "$dir/data" -w -l "$dir/log" -o "-p $port -h 127.0.0.1 -k $dir -c fsync=${FSYNC:-off} -c max_connections=300" start >/dev/null 2>&1; then
		cd "$OLDPWD"
		TEST_DATABASE_URL="postgres://perch:$password@127.0.0.1:$port/postgres?sslmode=disable" "$@"
		exit
	fi
done
cat "$dir/log" >&2
exit 1
