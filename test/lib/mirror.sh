#!/usr/bin/env bash
# Prints the address of the Debian archive that this machine's apt uses; with `security`, of its security archive (nothing if there is none).
set -euo pipefail
want=${1:-main}

# as apt has its lists
apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(ORIGIN)' 2>/dev/null |
	awk -v want="$want" '$3 == "Debian" && ($2 ~ /security/) == (want == "security") && !found { sub("/*$", "", $1); print found = $1 }' | grep . && exit
[ "$want" = main ] || exit 0
# no lists yet: as it is configured
cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null | grep -v '^ *#' |
	grep -Eo '(https?|file|copy|mirror\+[a-z]+)://[^ ]*/debian/?( |$)' | sed -n '1s|/* *$||p' | grep . && exit
echo "no Debian archive in apt's configuration" >&2
exit 1
