#!/usr/bin/env bash
# Makes a bare Debian (12, 13 or newer) ready to build and test: installs what is missing, and keeps
# the server and its development files at one version.  Silent and quick when there is nothing to do.
# Never touches a cluster, starts no server.
#
# The server is PG_CONFIG's if that is set; else the newest supported one that is installed with its
# development files; else the one that the distribution calls `postgresql`.
set -euo pipefail

supported="18 17 16 15"
compiler=(gcc libc6-dev make python3)
log=$(mktemp)
trap 'rm -f "$log"' EXIT

fail() { printf 'bootstrap: %s\n' "$@" >&2; exit 1; }

version() { { dpkg-query -W -f '${db:Status-Abbrev}${Version}\n' "$1" 2>/dev/null || true; } | sed -n 's/^ii *//p' | head -n 1; }

quietly() {
	"$@" >"$log" 2>&1 || { tail -n 30 "$log" >&2; fail "failed: $*"; }
}

updated=
update() { [ -n "$updated" ] || quietly apt-get update; updated=1; }

# What apt would install of a package; nothing if it knows none.
candidate() { apt-cache policy "$1" 2>/dev/null | sed -n 's/^  Candidate: \([^(]\)/\1/p'; }

# Sets major, of the packaged server to use; empty: a server that is not packaged.
choose_major() {
	local of=${PG_CONFIG:-} bindir
	bindir=$("${of:-false}" --bindir 2>/dev/null) || bindir=${of%/pg_config}
	if [ -n "$bindir" ]; then
		[[ $bindir =~ ^/usr/lib/postgresql/([0-9]+)/bin$ ]] && major=${BASH_REMATCH[1]}
		return 0
	fi
	for major in $supported; do
		bindir=/usr/lib/postgresql/$major/bin
		[ ! -x "$bindir/postgres" ] || [ ! -x "$bindir/pg_config" ] || return 0
	done
	for major in $supported; do
		[ -z "$(version "postgresql-$major")" ] || return 0
	done
	command -v apt-cache >/dev/null || fail "not a Debian system: set PG_CONFIG to that of a PostgreSQL server"
	[ "$(id -u)" -ne 0 ] || update
	major=$(apt-cache depends postgresql 2>/dev/null | sed -n 's/^ *Depends: postgresql-\([0-9]*\)$/\1/p')
	[[ " $supported " == *" ${major:-none} "* ]] ||
		fail "the distribution has PostgreSQL '$major'; supported are: $supported"
}

major=
choose_major
packages=("${compiler[@]}" libpq5)
optional=()     # a distribution may lack these; the tests that need them say so
if [ -n "$major" ]; then
	packages+=("postgresql-$major" "postgresql-client-$major" "postgresql-server-dev-$major" libpq-dev)
	optional=("postgresql-$major-pgtap" "postgresql-$major-cron" "postgresql-$major-repack")
fi

# headers, libraries and server must be of one version
server=${major:+$(version "postgresql-$major")}
wanted=
for p in "${packages[@]}"; do
	v=$(version "$p")
	[ -n "$v" ] || wanted+=" $p"
	case $p in
		postgresql-client-*|postgresql-server-dev-*) ;;
		libpq*) [ "${v%%.*}" = "$major" ] || continue ;;        # of a newer major it may be
		*) continue ;;
	esac
	[ -z "$v" ] || [ -z "$server" ] || [ "$v" = "$server" ] || wanted+=" $p($v)"
done
missing=()
for p in "${optional[@]}"; do
	[ -n "$(version "$p")" ] || missing+=("$p")
done
# of optional packages nothing is wanted where apt has looked, and there are none
for p in "${missing[@]}"; do
	[ -n "$wanted" ] || [ -z "$(candidate "postgresql-$major")" ] || [ -n "$(candidate "$p")" ] || continue
	wanted+=" $p"
done
[ -n "$wanted" ] || exit 0

command -v apt-get >/dev/null || fail "not a Debian system; needed:$wanted"
[ "$(id -u)" -eq 0 ] || fail "missing or of another version:$wanted" \
	"as root: apt-get update && apt-get install ${packages[*]} ${missing[*]}"

echo "bootstrap: installing$wanted" >&2
export DEBIAN_FRONTEND=noninteractive
update
for p in "${missing[@]}"; do
	if [ -n "$(candidate "$p")" ]; then packages+=("$p"); else echo "bootstrap: this distribution has no $p" >&2; fi
done
quietly apt-get install -y --no-install-recommends "${packages[@]}"
