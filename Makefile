# Rowan: build, install, test.
#
#   make                 build for the server that PG_CONFIG belongs to
#   make install         install into that server
#   make demo            a tour on real data (installs missing Debian packages as root)
#   make report          the same measured, as a page of HTML with plots and pictures
#   make bench           heap beside Rowan, btree beside rowan_btree, with plots (bench/README.md)
#   make test            the test suite (the same)
#   make check-NAME      one long campaign (see doc/testing.md)
#   make indent          lay the C source out as PostgreSQL does
#
# Variants: FAULTS=1 (fault points), CHECK_PAGES=1 (pages validated at every
# release of an exclusive latch), WERROR=1.

EXTENSION = rowan
DATA = rowan--0.1.0.sql rowan--0.1.0--0.2.0.sql
MODULE_big = rowan

# The source may be elsewhere than where it is built (VPATH), as for Debian packages.
ROWAN_TOP := $(dir $(lastword $(MAKEFILE_LIST)))
OBJS = $(patsubst $(ROWAN_TOP)%.c,%.o,$(wildcard $(ROWAN_TOP)src/*.c $(ROWAN_TOP)src/*/*.c))
REGRESS = $(patsubst $(ROWAN_TOP)sql/%.sql,%,$(wildcard $(ROWAN_TOP)sql/*.sql))

PG_CONFIG ?= pg_config
ROWAN_PYTHON ?= python3

# Core's headers are system headers: their warnings are not ours to mend.
PG_CPPFLAGS = -I$(srcdir)/src -isystem $(shell $(PG_CONFIG) --includedir-server 2>/dev/null)
PG_CFLAGS = -std=gnu11 -Wall -Wextra -Wno-unused-parameter -MMD -MP

# What others may see is marked (base/export.h): other libraries' symbols cannot meet ours, and calls
# within the library need no indirection.
PG_CFLAGS += -fvisibility=hidden

# GCC for x86 copies a few bytes in line (rep movs), which is slower than the C library: it took a
# twentieth of what an update costs.
ROWAN_COPY_CALLS = -mstringop-strategy=libcall
ROWAN_CC := $(shell $(PG_CONFIG) --cc 2>/dev/null)
PG_CFLAGS += $(shell $(ROWAN_CC) $(ROWAN_COPY_CALLS) -x c -c /dev/null -o /dev/null 2>/dev/null \
	&& echo $(ROWAN_COPY_CALLS))

ifeq ($(FAULTS),1)
PG_CPPFLAGS += -DROWAN_FAULTS
endif
ifeq ($(CHECK_PAGES),1)
PG_CPPFLAGS += -DROWAN_CHECK_PAGES
endif
ifeq ($(WERROR),1)
PG_CFLAGS += -Werror
endif

ROWAN_DEPS = $(OBJS:.o=.d)
EXTRA_CLEAN = $(ROWAN_DEPS) build
override with_llvm = no

# PGXS may be missing still: `make test` and `make demo` install it.
PGXS := $(wildcard $(shell $(PG_CONFIG) --pgxs 2>/dev/null))
ifneq ($(PGXS),)
include $(PGXS)
else
.PHONY: all install
all install:
	@echo "PostgreSQL's development files are missing (15 to 18): apt-get install postgresql-server-dev-all" >&2; exit 1
endif

-include $(ROWAN_DEPS)

# Objects are rebuilt when the variant changes.
ROWAN_VARIANT = $(PG_CONFIG) $(PG_CPPFLAGS) $(PG_CFLAGS)
$(OBJS): .variant
.variant: FORCE
	@mkdir -p $(sort $(dir $(OBJS)))
	@echo '$(ROWAN_VARIANT)' | cmp -s - $@ || echo '$(ROWAN_VARIANT)' > $@
FORCE:
.PHONY: FORCE
EXTRA_CLEAN += .variant

RUN = @test/lib/bootstrap.sh && $(ROWAN_PYTHON)

# pgindent, from PostgreSQL's own source.
.PHONY: indent check-indent
indent:       ; $(RUN) test/indent.py
check-indent: ; $(RUN) test/indent.py --check

.PHONY: test demo bench check-core check-core-indexes check-tap
test:
	$(RUN) test/run.py $(TESTFLAGS)

demo:
	$(RUN) test/demo.py

# What PGXN takes: META.json says what is in it.
ROWAN_VERSION = $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" $(ROWAN_TOP)rowan.control)
.PHONY: dist
dist:
	@mkdir -p build
	git archive --prefix=rowan-$(ROWAN_VERSION)/ -o build/rowan-$(ROWAN_VERSION).zip HEAD

# One page of HTML: heap beside Rowan, measured, and pictures of trees and pages.
.PHONY: report pictures
report:
	$(RUN) test/report.py $(REPORTFLAGS)

# Those that README.md shows.
pictures:
	$(RUN) test/report.py --pictures doc/pictures $(REPORTFLAGS)

bench:
	$(RUN) bench/run.py $(BENCHFLAGS)

# Long campaigns; TESTFLAGS goes to the test, e.g. --bindir, --seeds, --cycles.
CAMPAIGNS = twin xmin index-keys index-twin crash powerloss standby bytes smallpool pgbench \
	snapshot faults shutdown duel prepared torn visible segments storm hot replica verify \
	extensions serializable upgrade incremental growth moves shrink decoding subscription \
	walrecords conflicts failover backup salvage
.PHONY: $(CAMPAIGNS:%=check-%)
check-twin:       ; $(RUN) test/t/twin.py --long $(TESTFLAGS)
check-xmin:       ; $(RUN) test/t/xmin.py --long $(TESTFLAGS)
check-crash:      ; $(RUN) test/t/crash.py --long kill $(TESTFLAGS)
check-powerloss:  ; $(RUN) test/t/crash.py --long powerloss $(TESTFLAGS)
check-faults:     ; $(RUN) test/t/crash.py --long faults errors control $(TESTFLAGS)
check-standby:    ; $(RUN) test/t/standby.py --long $(TESTFLAGS)
check-torn:
	$(RUN) test/t/torn.py --long $(TESTFLAGS)
	$(RUN) test/t/crash.py --long tears $(TESTFLAGS)
check-bytes:      ; $(RUN) test/t/bytes.py --long $(TESTFLAGS)
check-smallpool:  ; $(RUN) test/t/smallpool.py --long $(TESTFLAGS)
check-pgbench:    ; $(RUN) test/t/pgbench.py --long $(TESTFLAGS)
check-snapshot:   ; $(RUN) test/t/snapshot.py --long $(TESTFLAGS)
check-shutdown:   ; $(RUN) test/t/shutdown.py --long $(TESTFLAGS)
check-index-keys: ; $(RUN) test/t/index_keys.py --long $(TESTFLAGS)
check-index-twin: ; $(RUN) test/t/index_twin.py --long $(TESTFLAGS)
check-prepared:   ; $(RUN) test/t/prepared.py --long $(TESTFLAGS)
check-duel:
	$(RUN) test/t/schedules.py --long $(TESTFLAGS)
	$(RUN) test/t/keyshare.py --long $(TESTFLAGS)
	$(RUN) test/t/duel.py --long $(TESTFLAGS)
check-visible:    ; $(RUN) test/t/visible.py --long $(TESTFLAGS)
check-hot:        ; $(RUN) test/t/hot.py --long $(TESTFLAGS)
check-storm:      ; $(RUN) test/t/storm.py --long $(TESTFLAGS)
check-salvage:    ; $(RUN) test/t/salvage.py --long $(TESTFLAGS)
check-verify:     ; $(RUN) test/t/verify.py --long $(TESTFLAGS)
check-segments:   ; $(RUN) test/t/segments.py --long $(TESTFLAGS)
check-replica:    ; $(RUN) test/t/replica.py --long $(TESTFLAGS)
check-extensions: ; $(RUN) test/t/extensions.py --long $(TESTFLAGS)
check-serializable: ; $(RUN) test/t/serializable.py --long $(TESTFLAGS)
check-upgrade:    ; $(RUN) test/t/upgrade.py --long $(TESTFLAGS)
check-subscription: ; $(RUN) test/t/subscription.py --long $(TESTFLAGS)
check-decoding:   ; $(RUN) test/t/decoding.py --long $(TESTFLAGS)
check-growth:     ; $(RUN) test/t/growth.py --long $(TESTFLAGS)
check-moves:      ; $(RUN) test/t/moves.py --long $(TESTFLAGS)
check-shrink:     ; $(RUN) test/t/shrink.py --long $(TESTFLAGS)
check-conflicts:  ; $(RUN) test/t/conflicts.py --long $(TESTFLAGS)
check-failover:   ; $(RUN) test/t/failover.py --long $(TESTFLAGS)
# pgBackRest and Barman have to be installed.
check-backup:     ; $(RUN) test/t/backup.py --long $(TESTFLAGS)
check-walrecords: ; $(RUN) test/t/walrecords.py --long $(TESTFLAGS)
check-incremental: ; $(RUN) test/t/incremental.py --long $(TESTFLAGS)

# PostgreSQL's own suites with Rowan as the default; fetches the sources and builds a
# cassert server first (ROWAN_TEST_POSTGRES says where).
check-core:
	$(RUN) test/core.py $(TESTFLAGS)

check-core-indexes:
	$(RUN) test/core.py --suite indexes $(TESTFLAGS)

# Its TAP suites (recovery, subscription, pg_rewind and other tools), on the same server.
check-tap:
	$(RUN) test/tap.py $(TESTFLAGS)

# The suite of somebody's extension, Rowan being the default: SUITE is its directory, and TESTFLAGS
# say what it needs (test/suite.py --help).
.PHONY: check-suite
check-suite:
	$(RUN) test/suite.py $(SUITE) $(TESTFLAGS)
