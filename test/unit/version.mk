# The version store's test.  Included by the Makefile beside.
TESTS += test_version

$(BUILD)/test_version: test_version.c pool_stub.c server_stub.c $(TOP)/src/base/flag_names.c $(TOP)/src/base/page_sum.c $(TREE) $(wildcard $(TOP)/src/version/*.c) $(TOP)/src/base/page_edit.c $(HEADERS)
	@mkdir -p $(BUILD)
	$(CC) $(CPPFLAGS) $(CFLAGS) -pthread -o $@ $(filter %.c,$^)
