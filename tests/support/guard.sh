#!/bin/sh
# Holds what a test run leaves on the machine: a folder, and a PostgreSQL in it. The run holds the other end of this
# script's standard input; when the run ends, however it ends, that end closes and everything is taken away.
#
# guard.sh FOLDER              only the folder
# guard.sh FOLDER PORT FSYNC   a PostgreSQL too, on 127.0.0.1:PORT, with fsync on or off
trap '' HUP INT TERM
folder=$1
if [ -n "$2" ]; then
  bin=$(dirname "$(readlink -f "$(command -v postgres || ls -d /usr/lib/postgresql/*/bin/postgres | sort -V | tail -n 1)")")
  as=
  if [ "$(id -u)" = 0 ]; then
    # PostgreSQL refuses to run as root.
    owner=$(id -u postgres >/dev/null 2>&1 && echo postgres || echo nobody)
    chown "$owner" "$folder"
    as="setpriv --reuid=$owner --regid=$(id -g "$owner") --clear-groups"
  fi
  $as "$bin/initdb" -D "$folder/data" -U postgres -A trust -E UTF8 --locale=C --no-sync >"$folder/initdb.log" 2>&1 ||
    { cat "$folder/initdb.log"; rm -rf "$folder"; exit 1; }
  $as "$bin/postgres" -D "$folder/data" -p "$2" -k "$folder" -c listen_addresses=127.0.0.1 -c max_connections=300 \
    -c fsync="$3" -c log_line_prefix='%d|' -c shared_buffers=256MB -c max_wal_size=4GB >"$folder/postgres.log" 2>&1 &
  server=$!
fi
echo ready
cat >/dev/null
if [ -n "$server" ]; then
  kill -QUIT "$server" 2>/dev/null
  wait "$server"
fi
rm -rf "$folder"
