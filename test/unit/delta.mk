# Differences of pages for WAL, with the marks of index leaves.
TESTS += test_delta

$(BUILD)/test_delta: test_delta.c index_stub.c index_stub.h pool_stub.c server_stub.c $(TOP)/src/base/page_sum.c $(TOP)/src/base/page_edit.c $(TOP)/src/pool/delta.c \
		$(filter-out %/entry_bulk.c,$(wildcard $(TOP)/src/entry/*.c)) $(TREE) $(wildcard *.h $(TOP)/src/*/*.h)
	@mkdir -p $(BUILD)
	$(CC) $(CPPFLAGS) $(CFLAGS) -pthread -o $@ $(filter %.c,$^)
