#!/bin/bash
# get-postgres.sh CACHE - PostgreSQL 15's source from Debian's source package in CACHE/source, and a cassert build of it
# in CACHE/pg. Run as root. Does nothing where CACHE is complete.
set -eu -o pipefail
CACHE=$(mkdir -p "$1" && cd "$1" && pwd)
[ -e "$CACHE/.done" ] && exit 0
export DEBIAN_FRONTEND=noninteractive
cd "$CACHE"
# deb-src entries for whatever Debian archive this machine already uses
for f in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list; do
  [ -e "$f" ] || continue
  case $f in
    *.sources) sed 's/^Types: deb$/Types: deb-src/' "$f" > /etc/apt/sources.list.d/rowan-src.sources;;
    *) sed -n 's/^deb /deb-src /p' "$f" > /etc/apt/sources.list.d/rowan-src.list;;
  esac
done
apt-get update -q
apt-get install -y -q build-essential dpkg-dev bison flex libreadline-dev zlib1g-dev liblz4-dev libzstd-dev libssl-dev libipc-run-perl
# the security archive may list a version whose source is gone: then the release's own
apt-get source -q --download-only postgresql-15 ||
  apt-get source -q --download-only "postgresql-15/$(. /etc/os-release && echo "$VERSION_CODENAME")"
rm -rf source pg
mkdir source
tar xjf "$(ls postgresql-15_*.orig.tar.bz2 | tail -n 1)" -C source --strip-components=1
cd source
./configure -q --prefix="$CACHE/pg" --enable-cassert --enable-debug --enable-tap-tests --with-lz4 --with-zstd --with-openssl --without-icu \
  CFLAGS="-O1 -g -fno-omit-frame-pointer" > ../configure.log
make -s -j"$(nproc)" > ../make.log 2>&1
make -s install >> ../make.log 2>&1
make -s -C contrib install >> ../make.log 2>&1
make -s -C src/test/isolation install >> ../make.log 2>&1
chmod -R a+rX "$CACHE"
touch "$CACHE/.done"
