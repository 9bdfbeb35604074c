# The index's test: cells, pages and the tree of an index.
INDEX_SOURCES = $(filter-out %/entry_bulk.c,$(wildcard $(TOP)/src/entry/*.c))

TESTS += test_index

$(BUILD)/test_index: test_index.c index_stub.c index_stub.h pool_stub.c server_stub.c $(TOP)/src/base/page_sum.c $(TOP)/src/base/page_edit.c $(INDEX_SOURCES) \
		$(TREE) $(wildcard *.h $(TOP)/src/*/*.h)
	@mkdir -p $(BUILD)
	$(CC) $(CPPFLAGS) $(CFLAGS) -pthread -o $@ $(filter %.c,$^)
