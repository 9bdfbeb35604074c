# The sum of a page's content, and changes that keep it.
TESTS += test_edit

$(BUILD)/test_edit: test_edit.c server_stub.c $(TOP)/src/base/page_sum.c $(TOP)/src/base/page_edit.c \
		$(wildcard *.h $(TOP)/src/*/*.h)
	@mkdir -p $(BUILD)
	$(CC) $(CPPFLAGS) $(CFLAGS) -o $@ $(filter %.c,$^)
