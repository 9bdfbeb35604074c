# The row codec's test.  Included by the Makefile beside; alone:
#   make -C test/unit -f codec.mk check-codec
PG_CONFIG ?= pg_config
TOP ?= ../..
BUILD ?= build

CODEC_CPPFLAGS = -DUSE_ASSERT_CHECKING -I$(TOP)/src \
	-isystem $(shell $(PG_CONFIG) --includedir-server)
CODEC_CFLAGS = -std=gnu11 -g -O1 -Wall -Wextra -Wno-unused-parameter \
	-fsanitize=address,undefined -fno-sanitize-recover=all

TESTS += test_codec

.PHONY: all check-codec
all: $(BUILD)/test_codec

$(BUILD)/test_codec: test_codec.c $(TOP)/src/row/codec.c $(TOP)/src/row/columns.c $(TOP)/src/row/codec.h \
		$(TOP)/src/base/format.h
	@mkdir -p $(BUILD)
	$(CC) $(CODEC_CPPFLAGS) $(CODEC_CFLAGS) -o $@ $(filter %.c,$^)

check-codec: $(BUILD)/test_codec
	$(BUILD)/test_codec
