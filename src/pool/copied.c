/*
 * copied.c
 *	  Databases that were copied, and the images that their pages need (copied.h).
 *
 * What is kept is one LSN for the whole cluster, in shared memory and in a file, which is written
 * before the database can be used, and by redo of the record.  It is never behind the copies that
 * the server has, and if the file cannot be read all changes have images.
 */
#include "postgres.h"

#include <fcntl.h>
#include <unistd.h>

#include "access/xlog.h"
#include "access/xloginsert.h"
#include "base/compat.h"
#include "miscadmin.h"
#include "pool/copied.h"
#include "pool/describe.h"
#include "pool/frame.h"
#include "pool/wal.h"
#include "port/pg_crc32c.h"
#include "storage/fd.h"

/* Not in the directories of databases: pg_checksums takes all files there for relations. */
#define COPIED_PATH		"rowan_copied"
#define COPIED_TEMPORARY	COPIED_PATH ".tmp"
#define COPIED_MAGIC	0x52434F50

typedef struct CopiedFileData
{
	uint32		magic;			/* COPIED_MAGIC */
	pg_crc32c	crc;			/* of the LSN's bytes */
	XLogRecPtr	lsn;			/* no page of the last copy was newer */
} CopiedFileData;

static pg_crc32c
crc_of_lsn(XLogRecPtr lsn)
{
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, &lsn, sizeof(lsn));
	FIN_CRC32C(crc);
	return crc;
}

static bool
read_file(XLogRecPtr *lsn)
{
	CopiedFileData data;
	int			file = BasicOpenFile(COPIED_PATH, O_RDONLY | PG_BINARY);
	ssize_t		size;

	*lsn = InvalidXLogRecPtr;
	if (file < 0)
		return errno == ENOENT;
	size = read(file, &data, sizeof(data));
	close(file);
	if (size != sizeof(data) || data.magic != COPIED_MAGIC || data.crc != crc_of_lsn(data.lsn))
		return false;
	*lsn = data.lsn;
	return true;
}

void
copied_shmem_init(void)
{
	XLogRecPtr	lsn;

	if (!read_file(&lsn))
	{
		ereport(LOG,
				(errmsg("could not read file \"%s\"", COPIED_PATH),
				 errdetail("All changes of Rowan tables are logged with images of their pages."),
				 errhint("CREATE DATABASE makes the file anew.")));
		lsn = PG_UINT64_MAX;
	}
	pg_atomic_init_u64(&pool_control->copied_lsn, lsn);
}

/* Like core's, whatever goes wrong is an error, and then the old file is still there. */
static void
write_file(XLogRecPtr lsn)
{
	CopiedFileData data = {.magic = COPIED_MAGIC, .crc = crc_of_lsn(lsn), .lsn = lsn};
	int			file = OpenTransientFile(COPIED_TEMPORARY,
										 O_CREAT | O_TRUNC | O_WRONLY | PG_BINARY);

	if (file < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not create file \"%s\": %m", COPIED_TEMPORARY)));
	errno = 0;
	if (write(file, &data, sizeof(data)) != sizeof(data))
	{
		if (errno == 0)
			errno = ENOSPC;
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not write file \"%s\": %m", COPIED_TEMPORARY)));
	}
	if (CloseTransientFile(file) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not close file \"%s\": %m", COPIED_TEMPORARY)));
	(void) durable_rename(COPIED_TEMPORARY, COPIED_PATH, ERROR);
}

/* The file first: what shared memory says is never ahead of it. */
static void
remember(XLogRecPtr lsn)
{
	XLogRecPtr	known;

	LWLockAcquire(&pool_control->copied_lock, LW_EXCLUSIVE);
	known = pg_atomic_read_u64(&pool_control->copied_lsn);
	if (lsn > known || known == PG_UINT64_MAX)
	{
		write_file(lsn);
		pg_atomic_write_u64(&pool_control->copied_lsn, lsn);
	}
	LWLockRelease(&pool_control->copied_lock);
}

/*
 * The file before the record: a base backup that begins behind the record does not replay it, and
 * has the file.  The pages of the copy are older than all that is logged from here on.
 */
void
copied_database(const char *name)
{
	remember(GetXLogInsertRecPtr());
	XLogBeginInsert();
	XLogRegisterData(unconstify(char *, name), strlen(name) + 1);
	(void) XLogInsert(ROWAN_RMGR_ID, ROWAN_XLOG_COPIED);
}

static void
copied_redo(XLogReaderState *record)
{
	remember(record->EndRecPtr);
}

static bool
describe_copied(StringInfo buf, XLogReaderState *record)
{
	Size		size = XLogRecGetDataLen(record);
	const char *name = XLogRecGetData(record);

	if (size == 0 || name[size - 1] != '\0')
		return false;
	describe(buf, "database: %s", name);
	return true;
}

void
copied_register(void)
{
	static const RowanRecordOps ops = {
		.name = "COPIED", .redo = copied_redo, .describe = describe_copied
	};

	wal_register_kind(ROWAN_XLOG_COPIED, &ops);
}
