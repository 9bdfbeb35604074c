/*
 * copy_chain.c
 *	  Making a chain of versions again in another file.
 *
 * The table is locked exclusively: nobody else sees the file.  Latches: leaf, then version
 * page, as any writer.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "row/target.h"

static void
pushed_meta(RowMeta *meta, const RowMeta *made, const RowMeta *top)
{
	memset(meta, 0, sizeof(*meta));
	meta->flags = ROW_XID | (made->cid != FirstCommandId ? ROW_CID : 0) |
		(made->flags & (ROW_DELETED | ROW_FORWARD));
	if (made->flags & ROW_DELETED)
		meta->flags |= made->flags & ROW_KEY_KEPT;
	meta->xid = made->xid;
	meta->cid = made->cid;
	meta->forward_block = made->forward_block;
	meta->forward_offset = made->forward_offset;
	if (made->flags & ROW_DELETED)
		meta->tag = top->tag;
	else
		meta->tag = top->tag < ROW_TAG_MAX ? top->tag + 1 : 1;
}

void
row_push_version(RowTable *table, RowId row, const RowMeta *made, VersionKey key,
				 const RowData *data)
{
	RowWork    *work = row_work_create();
	RowTarget	target;

	Assert(TransactionIdIsNormal(made->xid));
	while (target_latch(&target, table, row, work))
	{
		bool		is_delete = (made->flags & ROW_DELETED) != 0;
		const RowData *newer = is_delete ? &target.top.data : data;
		const VersionRecordData *record = NULL;
		RowMeta		meta;

		Assert((target.top.meta.flags & ROW_DELETED) == 0);
		pushed_meta(&meta, made, &target.top.meta);

		if (!is_delete || key == VERSION_KEY_HELD || !row_keep_frozen(&meta, &target.top.meta))
		{
			meta.flags |= ROW_VERSION;
			record = target_record(&target, made->xid, meta.tag, key, newer);
		}
		if (target_replace(&target, &meta, newer, record))
			break;
	}
	row_work_free(work);
}
