#!/usr/bin/env bash
# get-postgres.sh MAJOR CACHE - the source of PostgreSQL MAJOR from Debian's source package in
# CACHE/source, and a cassert build of it in CACHE/pg. Run as root. Does nothing where CACHE is complete.
# The source comes from the first distribution that has it; apt's own configuration is left alone.
set -eu -o pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
major=$1
cache=$(mkdir -p "$2" && cd "$2" && pwd)
[ -e "$cache/.done" ] && exit 0
exec 9>"$cache/.lock"
flock 9
[ -e "$cache/.done" ] && exit 0
export DEBIAN_FRONTEND=noninteractive
cd "$cache"

needed=(build-essential dpkg-dev bison flex libreadline-dev zlib1g-dev liblz4-dev libzstd-dev libssl-dev
  libipc-run-perl pkg-config perl)
if ! dpkg -s "${needed[@]}" >/dev/null 2>&1; then
  apt-get update -q
  apt-get install -y -q "${needed[@]}"
fi

# Lists and files of a private apt; all else is as the machine has it.
privately() {
  "$1" -o Dir::Etc::sourcelist="$cache/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
    -o Dir::Etc::preferencesparts=/dev/null -o Dir::State::Lists="$cache/apt/lists" -o Dir::Cache="$cache/apt/cache" \
    -o Acquire::Languages=none -o APT::Sandbox::User=root -o Debug::NoLocking=true "${@:2}"
}
source_file() {
  find . -maxdepth 1 -name "postgresql-${major}_*.orig.tar.*" ! -name '*.asc' | sort -V | tail -n 1
}

# An archive may list a source whose files are gone: then the next one is asked.
fetch() {
  local mirror security suite place keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  mirror=$("$here/../lib/mirror.sh")
  security=$("$here/../lib/mirror.sh" security)
  mkdir -p apt/lists/partial apt/cache/archives/partial
  for suite in $(. /etc/os-release; echo "${VERSION_CODENAME:-}") bookworm trixie forky sid; do
    for place in "$mirror $suite" ${security:+"$security $suite-security"}; do
      echo "deb-src [signed-by=$keyring] $place main" > apt/sources.list
      if privately apt-get update -q > apt/update.log 2>&1 &&
         privately apt-cache showsrc --only-source "postgresql-$major" 2>/dev/null | grep -q '^Package:' &&
         privately apt-get source -q --download-only "postgresql-$major" >> apt/update.log 2>&1; then
        return 0
      fi
      rm -f postgresql-"$major"_*
    done
  done
  cat apt/update.log >&2
  echo "no archive has the source of postgresql-$major" >&2
  return 1
}
[ -n "$(source_file)" ] || fetch
echo "making a cassert build of $(source_file) in $cache"

rm -rf source pg
mkdir source
tar xf "$(source_file)" -C source --strip-components=1
cd source
points=
[ "$major" -lt 17 ] || points=--enable-injection-points
./configure -q --prefix="$cache/pg" --enable-cassert --enable-debug --enable-tap-tests --with-lz4 --with-zstd \
  --with-openssl --without-icu $points CFLAGS="-O1 -g -fno-omit-frame-pointer" > ../configure.log
{
  make -s -j"$(nproc)"
  make -s install
  make -s -C contrib -j"$(nproc)" install
  make -s -C src/test/isolation install
  [ -z "$points" ] || make -s -C src/test/modules/injection_points install
} > ../make.log 2>&1
chmod -R a+rX "$cache"
touch "$cache/.done"
