#!/bin/sh
# In a chroot that may be written to: builds the Debian package of this checkout, with nothing for
# lintian to complain about, installs it, makes the extension, updates it from 0.1.0, and purges the
# package again.
set -eu

export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
say() { echo "package: $*"; }
quietly() { "$@" >/tmp/log 2>&1 || { tail -n 40 /tmp/log; echo "failed: $*"; exit 1; }; }

quietly apt-get update
quietly apt-get install -y --no-install-recommends build-essential debhelper fakeroot lintian \
	postgresql-server-dev-all postgresql-common

version=$(sed -n "s/^default_version = '\(.*\)'/\1/p" rowan.control)
major=$(ls /usr/lib/postgresql | sort -n | tail -n 1)
package=postgresql-$major-rowan
say "$version for PostgreSQL $major"

# ---- build ----

source=/tmp/package/postgresql-rowan-$version
mkdir -p "$source"
cp -a . "$source"
rm -rf "$source/build" "$source/.git"
cd "$source"
tar -C .. --exclude=debian -czf "../postgresql-rowan_$version.orig.tar.gz" "$(basename "$source")"
quietly pg_buildext updatecontrol
quietly dpkg-buildpackage -us -uc
say "built $(cd .. && echo *.deb)"
# It is not for upload to Debian, where a bug would have asked for it; the maintainers' address is
# one that takes no mail.  The oldest Debian's lintian does not know the newest policy.
quietly lintian --allow-root --fail-on error,warning --tag-display-limit 0 --suppress-tags \
	initial-upload-closes-no-bugs,bogus-mail-host,bogus-mail-host-in-debian-changelog,\
newer-standards-version ../*.changes
[ ! -s /tmp/log ] || { cat /tmp/log; say "lintian complains"; exit 1; }

# ---- install, use ----

find / -xdev -not -path '/tmp/*' -not -path '/proc/*' -not -path '/var/*' | sort >/tmp/before
quietly apt-get install -y --no-install-recommends "../$package"_*.deb
dpkg -L "$package" | grep -q "/usr/lib/postgresql/$major/lib/rowan.so"
cat >/tmp/use.sql <<'END'
\set ON_ERROR_STOP 1
CREATE EXTENSION rowan VERSION '0.1.0';
CREATE TABLE t (id int PRIMARY KEY, n int) USING rowan;
INSERT INTO t SELECT i, 0 FROM generate_series(1, 10000) i;
ALTER EXTENSION rowan UPDATE;
UPDATE t SET n = n + 1;
CREATE INDEX ON t USING rowan_btree (n);
DO $$ BEGIN
	IF (SELECT count(*) FROM rowan.verify('t')) > 0 OR (SELECT sum(n) FROM t) <> 10000 OR
		rowan.tree_svg('t') NOT LIKE '<svg%' THEN
		RAISE 'not as it should be';
	END IF;
END $$;
SELECT 'extension ' || extversion FROM pg_extension WHERE extname = 'rowan';
DROP TABLE t;
DROP EXTENSION rowan;
END
chmod 644 /tmp/use.sql
quietly pg_virtualenv -v "$major" -o shared_preload_libraries=rowan psql -XAtqf /tmp/use.sql
grep '^extension ' /tmp/log

# ---- and away ----

quietly apt-get purge -y "$package"
find / -xdev -not -path '/tmp/*' -not -path '/proc/*' -not -path '/var/*' | sort >/tmp/after
diff /tmp/before /tmp/after || { say "purge left that"; exit 1; }
quietly pg_virtualenv -v "$major" psql -XAtqc 'SELECT 1'
say "purged, nothing is left"
