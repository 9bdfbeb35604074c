/*
 * test_version.c
 *	  Version pages: appending, reading and freeing, and pages that come back between judging and freeing.
 */
#include "tap.h"

#include "core.h"
#include "pool_stub.h"
#include "storage/proc.h"
#include "tree/tree.h"
#include "version/version.h"

#define FILE	(&stub_file)

static PGPROC me;
PGPROC	   *MyProc = &me;

DEFINE_MY_PROC_NUMBER

static BlockNumber last_block;		/* of the last record, and where it is */
static uint16 last_offset;

static FileHeaderData
header(void)
{
	FileHeaderData h;

	space_read_header(FILE, &h);
	return h;
}

static void
append(RowId row, TransactionId xid, uint16 size)
{
	PGAlignedBlock buffer;
	VersionRecordData *record = (VersionRecordData *) buffer.data;
	WalContext	context = {.xid = xid, .next_block = InvalidBlockNumber};
	char		data[VERSION_APPEND_MAX];
	Size		length;
	PoolFrame  *frame;

	memset(buffer.data, (int) xid, size);
	memset(record, 0, sizeof(*record));
	record->size = size;
	record->kind = VERSION_FULL;
	record->superseder = xid;
	record->row_low = (uint32) row;
	while ((frame = version_latch_active(FILE, size)) == NULL)
		if (!version_await_active(FILE))
			version_add_page(FILE);
	last_block = pool_block(frame);
	last_offset = version_next_offset(pool_page(frame));
	pool_change_begin(frame);
	length = version_append_data(pool_page(frame), record, xid, data);
	version_append_apply(pool_page(frame), data, length, &context);
	version_append_apply(stub_replica_page(last_block), data, length, &context);
	pool_change_end(frame);
	pool_unlatch(frame);
}

static void
append_many(int n, TransactionId xid)
{
	for (int i = 0; i < n; i++)
		append(1, xid + i, 48);
}

static char *
copy_of(BlockNumber block)
{
	char	   *copy = aligned_alloc(MAXIMUM_ALIGNOF, BLCKSZ);

	pool_read_copy(FILE, block, NULL, copy);
	return copy;
}

static void
begin(void)
{
	stub_reset();
	tree_create(FILE);
	set_my_proc_number(0);
}

static void
test_free(void)
{
	char	   *copy;

	begin();
	append_many(5, 100);
	copy = copy_of(last_block);
	append(1, 105, 48);
	tap_ok(!version_free_head(FILE, last_block, (Page) copy, 0),
		   "a page that was appended to stays");
	free(copy);
	copy = copy_of(last_block);
	tap_ok(version_free_head(FILE, last_block, (Page) copy, 0) &&
		   header().version_head == InvalidBlockNumber && header().version_count == 0 &&
		   header().version_active[0] == InvalidBlockNumber, "a page that is as it was judged goes");
	tap_ok(!version_free_head(FILE, last_block, (Page) copy, 0), "and cannot go twice");
	free(copy);
}

/* Freed by somebody else, the head again, and filled as far as before. */
static void
test_page_that_comes_back(int nrecords)
{
	BlockNumber block;
	char	   *judged;
	char	   *now;

	begin();
	append_many(nrecords, 100);
	block = last_block;
	judged = copy_of(block);
	must(version_free_head(FILE, block, (Page) judged, 0));
	append_many(nrecords, 200);
	now = copy_of(block);
	must(last_block == block && header().version_head == block &&
		 version_next_offset((Page) now) == version_next_offset((Page) judged));
	tap_ok(!version_free_head(FILE, block, (Page) judged, 0) && header().version_head == block,
		   "a page that has come back with other records stays");
	tap_ok(version_free_head(FILE, block, (Page) now, 0), "and goes when those were judged");
	free(judged);
	free(now);
}

static void
test_only_head(void)
{
	BlockNumber first;
	char	   *copy;

	begin();
	append_many(1, 100);
	first = last_block;
	set_my_proc_number(1);
	version_add_page(FILE);
	append_many(1, 101);
	must(last_block != first);
	copy = copy_of(last_block);
	tap_ok(!version_free_head(FILE, last_block, (Page) copy, 0) && header().version_head == first,
		   "only the page at the head of the list goes");
	free(copy);
}

static void
test_empty(void)
{
	BlockNumber block;
	char	   *copy;

	begin();
	version_add_page(FILE);
	block = header().version_head;
	copy = copy_of(block);
	tap_ok(!version_free_head(FILE, block, (Page) copy, 0), "an empty page that is appended to next stays");
	version_add_page(FILE);		/* in its place */
	tap_ok(version_free_head(FILE, block, (Page) copy, 0), "one that nobody knows goes");
	free(copy);
	block = header().version_head;
	copy = copy_of(block);
	set_my_proc_number(1);
	version_add_page(FILE);
	tap_ok(version_free_head(FILE, block, (Page) copy, 0), "one that keeps others goes");
	free(copy);
}

static void
test_read(void)
{
	static char dest[VERSION_MAX_RECORD + MAXIMUM_ALIGNOF] pg_attribute_aligned(MAXIMUM_ALIGNOF);
	VersionRecordData *record = (VersionRecordData *) dest;
	char	   *copy;

	begin();
	append_many(3, 100);
	tap_ok(version_read(FILE, last_block, last_offset, dest) && version_is_for(record, 1, 102, 0) &&
		   record->size == 48, "a record is read");
	tap_ok(!version_is_for(record, 2, 102, 0) && !version_is_for(record, 1, 101, 0) &&
		   !version_is_for(record, 1, 102, 1), "it is for its row, its superseder and its tag only");
	tap_ok(!version_read(FILE, last_block, last_offset + 48, dest) &&
		   !version_read(FILE, last_block, last_offset + 4, dest) &&
		   !version_read(FILE, last_block, 0, dest) &&
		   !version_read(FILE, last_block, BLCKSZ - 8, dest), "where no record begins there is none");
	tap_ok(!version_read(FILE, ROWAN_ROOT_BLOCK, ROWAN_PAGE_BODY, dest) &&
		   !version_read(FILE, ROWAN_HEADER_BLOCK, ROWAN_PAGE_BODY, dest), "nor on pages of other kinds");
	tap_ok(!version_read(FILE, header().high_water, ROWAN_PAGE_BODY, dest) &&
		   !version_read(FILE, MaxBlockNumber, ROWAN_PAGE_BODY, dest), "nor beyond the end of the file");
	copy = copy_of(last_block);
	must(version_free_head(FILE, last_block, (Page) copy, 0));
	tap_ok(!version_read(FILE, last_block, last_offset, dest), "nor on a page that was freed");
	free(copy);
}

/*
 * A writer looks for a version under his leaf's latch, and the pointer leads to the block of a page
 * that was freed and has become any page of the tree since: here the leaf itself, there one whose
 * holder waits for the leaf.  It must not be waited for, however often the read has to be repeated.
 */
static void
test_read_under_latch(void)
{
	static char dest[VERSION_MAX_RECORD + MAXIMUM_ALIGNOF] pg_attribute_aligned(MAXIMUM_ALIGNOF);
	PoolFrame  *leaf;
	bool		astray = false;
	bool		found = true;

	begin();
	append_many(1, 100);
	leaf = pool_latch(FILE, ROWAN_ROOT_BLOCK, LW_EXCLUSIVE);
	stub_set_read_failures(2);
	for (int i = 0; i < 2000; i++)
	{
		astray |= version_read(FILE, ROWAN_ROOT_BLOCK, ROWAN_PAGE_BODY, dest);
		found &= version_read(FILE, last_block, last_offset, dest);
	}
	stub_set_read_failures(0);
	tap_ok(!astray, "a pointer into the leaf that the caller has latched");
	tap_ok(found && stub_latches_held() == 1, "a record is read while the leaf is latched");
	pool_unlatch(leaf);
}

int
main(void)
{
	test_free();
	for (int n = 1; n <= 168; n += 167)
		test_page_that_comes_back(n);
	test_only_head();
	test_empty();
	test_read();
	test_read_under_latch();
	tap_ok(stub_replica_difference() == InvalidBlockNumber && stub_latches_held() == 0,
		   "a standby has the same pages, and no latch is left");
	return tap_end();
}
