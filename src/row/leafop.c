/*
 * leafop.c
 *	  Replacing a row's cell: do, apply, redo.
 *
 * REPLACE touches a leaf and, if an older version is
 * pushed, a version page (latched in that order).  A reader sees the leaf and
 * the version page change together: it finds the pointer to a record only on a leaf
 * that was changed after the record was complete.  Redo is physiological and applies
 * the same pure functions.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xloginsert.h"
#include "base/bytes.h"
#include "base/fault.h"
#include "base/page_sum.h"
#include "miscadmin.h"
#include "pool/wal.h"
#include "row/decode.h"
#include "row/leafop.h"

/* ---- REPLACE ---- */

void
cell_diff(const char *old_cell, uint16 old_size, uint16 old_header,
		  const char *new_cell, uint16 new_size, uint16 new_header, CellDiffData *diff)
{
	const char *old_data = old_cell + old_header;
	const char *new_data = new_cell + new_header;
	int			old_length = old_size - old_header;
	int			new_length = new_size - new_header;
	int			common = Min(old_length, new_length);

	diff->prefix = common_prefix(old_data, new_data, common);
	diff->suffix = common_suffix(old_data + old_length, new_data + new_length,
								 common - diff->prefix);
	diff->header = new_header;
	diff->old_header = old_header;
}

static void
leaf_replace_apply(Page page, int pos, const char *cell)
{
	page_replace_row(page, pos, cell);
	leaf_note_cell(page_trailer(page), cell);
	page_set_sum(page);
}

static void
log_replace(PoolFrame *leaf, const ReplaceRecordData *replace,
			const char *cell, PoolFrame *version, const char *append, Size append_size)
{
	const CellDiffData *diff = &replace->diff;
	XLogRecPtr	lsn;

	XLogBeginInsert();
	wal_add_page(0, leaf);
	XLogRegisterBufData(0, (char *) replace, sizeof(*replace));
	XLogRegisterBufData(0, (char *) cell, diff->header);
	XLogRegisterBufData(0, (char *) cell + diff->header + diff->prefix,
						replace->size - diff->header - diff->prefix - diff->suffix);
	if (version != NULL)
	{
		wal_add_page(1, version);
		XLogRegisterBufData(1, (char *) append, append_size);
	}
	lsn = XLogInsert(ROWAN_RMGR_ID, ROWAN_XLOG_REPLACE);
	PageSetLSN(pool_page(leaf), lsn);
	if (version != NULL)
		PageSetLSN(pool_page(version), lsn);
}

void
leaf_replace(const PoolFile *file, PoolFrame *leaf, int pos, const char *cell,
			 const CellDiffData *diff, PoolFrame *version, const VersionRecordData *record)
{
	TransactionId xid = GetCurrentTransactionIdIfAny();
	ReplaceRecordData replace;
	char		append[VERSION_APPEND_MAX];
	Size		append_size = 0;

	replace.pos = pos;
	replace.size = row_header_size((const RowHeaderData *) cell);
	replace.diff = *diff;

	if (version != NULL)
		append_size = version_append_data(pool_page(version), record, xid, append);
	FAULT_POINT(row_replace);
	START_CRIT_SECTION();
	pool_change_begin(leaf);
	if (version != NULL)
	{
		pool_change_begin(version);
		version_append_apply(pool_page(version), append, append_size, xid);
		FAULT_POINT(version_append);
	}
	leaf_replace_apply(pool_page(leaf), pos, cell);
	FAULT_POINT(row_replace_applied);
	if (file->logged)
		log_replace(leaf, &replace, cell, version, append, append_size);
	if (version != NULL)
		pool_change_end(version);
	pool_change_end(leaf);
	END_CRIT_SECTION();
	FAULT_POINT(row_replace_logged);
	if (version != NULL)
		pool_unlatch(version);
}

/* Makes the new cell from the old one and what was logged. */
static void
rebuild_cell(Page page, const ReplaceRecordData *replace, const char *logged, char *dest)
{
	const CellDiffData *diff = &replace->diff;
	uint16		old_size;
	char	   *old = page_cell(page, replace->pos, &old_size);
	int			middle = replace->size - diff->header - diff->prefix - diff->suffix;

	if (old == NULL || old_size < diff->old_header + diff->prefix + diff->suffix)
		elog(PANIC, "rowan: WAL record does not fit the page it is applied to");
	memcpy(dest, logged, diff->header);
	dest += diff->header;
	memcpy(dest, old + diff->old_header, diff->prefix);
	dest += diff->prefix;
	memcpy(dest, logged + diff->header, middle);
	dest += middle;
	memcpy(dest, old + old_size - diff->suffix, diff->suffix);
}

static void
replace_redo_leaf(Page page, char *data, Size length, TransactionId xid)
{
	ReplaceRecordData replace;
	RowCellBuffer cell;

	memcpy(&replace, data, sizeof(replace));
	rebuild_cell(page, &replace, data + sizeof(replace), cell.bytes);
	leaf_replace_apply(page, replace.pos, cell.bytes);
}

static void
leaf_replace_redo(XLogReaderState *record)
{
	bool		has_version = XLogRecHasBlockRef(record, 1);
	PoolFrame  *leaf = NULL;
	PoolFrame  *version = NULL;
	PoolRedo	leaf_action = pool_redo_latch(record, 0, false, &leaf);
	PoolRedo	version_action = POOL_REDO_GONE;

	if (has_version)
		version_action = pool_redo_latch(record, 1, false, &version);
	FAULT_POINT(row_replace_redo);
	if (version_action == POOL_REDO_APPLY)
	{
		wal_apply(record, 1, version, version_append_apply);
		FAULT_POINT(row_replace_redo_between);
	}
	if (leaf_action == POOL_REDO_APPLY)
		wal_apply(record, 0, leaf, replace_redo_leaf);
	if (version != NULL)
		pool_unlatch(version);
	if (leaf != NULL)
		pool_unlatch(leaf);
}

static void
leaf_replace_desc(StringInfo buf, XLogReaderState *record)
{
	Size		length;
	char	   *data = wal_page_data(record, 0, &length);
	ReplaceRecordData replace;

	if (data == NULL)
		return;
	memcpy(&replace, data, sizeof(replace));
	appendStringInfo(buf, "slot %u, size %u, keeps %u+%u", replace.pos, replace.size,
					 replace.diff.prefix, replace.diff.suffix);
}

void
row_wal_init(void)
{
	static const RowanRecordOps replace_ops =
	{"REPLACE", leaf_replace_redo, leaf_replace_desc, leaf_decode};

	append_wal_init();
	wal_register_kind(ROWAN_XLOG_REPLACE, &replace_ops);
}
