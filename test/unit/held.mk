# The list of held latches: that it notices what is wrong.
TESTS += test_held

$(BUILD)/test_held: test_held.c server_stub.c $(TOP)/src/pool/held.c $(HEADERS)
	@mkdir -p $(BUILD)
	$(CC) $(CPPFLAGS) $(CFLAGS) -o $@ $(filter %.c,$^)
