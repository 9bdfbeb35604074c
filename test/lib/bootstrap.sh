#!/usr/bin/env bash
# Makes a bare Debian 12 ready to build and test: installs what is missing, and
# keeps the server and its development files at one version.  Silent and quick when there is
# nothing to do.  Never touches a cluster, starts no server.
set -euo pipefail

packages=(postgresql-15 postgresql-15-pgtap postgresql-15-cron postgresql-15-repack postgresql-client-15 postgresql-server-dev-15 libpq5 libpq-dev gcc libc6-dev make python3)

version() { { dpkg-query -W -f '${db:Status-Abbrev}${Version}\n' "$1" 2>/dev/null || true; } | sed -n 's/^ii *//p' | head -n 1; }

wanted=
server=$(version postgresql-15)
for p in "${packages[@]}"; do
	v=$(version "$p")
	[ -n "$v" ] || wanted+=" $p"
	# headers, libraries and server must be of one version
	case $p in
		*-pgtap|*-cron|*-repack) ;;
		postgresql-*|libpq*) [ -z "$v" ] || [ -z "$server" ] || [ "$v" = "$server" ] || wanted+=" $p($v)" ;;
	esac
done
[ -n "$wanted" ] || exit 0

if ! command -v apt-get >/dev/null; then
	echo "bootstrap: not a Debian system; needed:$wanted" >&2
	exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
	echo "bootstrap: missing or of another version:$wanted" >&2
	echo "bootstrap: as root: apt-get update && apt-get install ${packages[*]}" >&2
	exit 1
fi

echo "bootstrap: installing$wanted" >&2
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { apt-get update && apt-get install -y --no-install-recommends "${packages[@]}"; } >"$log" 2>&1; then
	tail -n 30 "$log" >&2
	echo "bootstrap: the installation of packages failed" >&2
	exit 1
fi
