# Runs of bytes, numbers, repeated bytes.
TESTS += test_bytes

$(BUILD)/test_bytes: test_bytes.c server_stub.c $(wildcard *.h $(TOP)/src/*/*.h)
	@mkdir -p $(BUILD)
	$(CC) $(CPPFLAGS) $(CFLAGS) -o $@ $(filter %.c,$^)
