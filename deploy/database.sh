#!/bin/sh
# The image of PostgreSQL runs this once, in an empty database: the role of web server and worker, which owns no table.
# `loupe setup` gives it its rights. NOT TRIED in a container; tests/deploy/test_database_role.py runs it without one.
set -eu
: "${LOUPE_APP_PASSWORD:?Set it in deploy/database.env.}"
psql --set=ON_ERROR_STOP=1 --set=password="$LOUPE_APP_PASSWORD" --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" <<'SQL'
CREATE ROLE loupe_app LOGIN PASSWORD :'password';
SQL
