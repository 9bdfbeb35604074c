/*
 * heap_errors.c
 *	  What core says when one of its functions for heaps, or for indexes of other methods, has met a
 *	  file of ours.
 *
 * Core finds that the page is invalid, or that the file ends before the block of a ctid, and
 * reports damaged data.  Nothing is: it looked at the wrong thing.  So the error is rethrown in
 * other words, if the file is one of ours.
 *
 * Runs while an error is handled: it looks at nothing but the message and the file.
 */
#include "postgres.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/format.h"
#include "core/hooks.h"
#include "storage/fd.h"

/* As core writes them in its source, before translation. */
#define INVALID_PAGE	"invalid page in block %u of relation %s"
#define INVALID_PAGE_FUNCTION "buffer_readv_report"
#define SHORT_READ		"could not read block %u in file \"%s\": read only %d of %d bytes"

/* From 18 on core's message about a page is of several, and translated: known by who says it. */
static bool
is_about_page(const ErrorData *error)
{
	if (error->sqlerrcode != ERRCODE_DATA_CORRUPTED || error->message == NULL ||
		error->message_id == NULL)
		return false;
	return strcmp(error->message_id, INVALID_PAGE) == 0 ||
		strcmp(error->message_id, SHORT_READ) == 0 ||
		(error->funcname != NULL && strcmp(error->funcname, INVALID_PAGE_FUNCTION) == 0);
}

/* The path in the message, in whatever language that is; false: none. */
static bool
find_path(const char *message, char path[MAXPGPATH])
{
	static const char *const roots[] = {"base/", "pg_tblspc/", "global/"};

	for (int i = 0; i < (int) lengthof(roots); i++)
	{
		const char *start = strstr(message, roots[i]);
		size_t		length;

		if (start == NULL)
			continue;
		length = strspn(start, "abcdefghijklmnopqrstuvwxyzPG_0123456789/");
		if (length >= MAXPGPATH)
			return false;
		memcpy(path, start, length);
		path[length] = '\0';
		return true;
	}
	return false;
}

static bool
file_is_ours(const char *path)
{
	PGAlignedBlock block;
	int			file = BasicOpenFile(path, O_RDONLY | PG_BINARY);
	PageTrailer trailer = page_trailer(block.data);
	bool		read_all;

	if (file < 0)
		return false;
	read_all = pread(file, block.data, BLCKSZ, 0) == BLCKSZ;
	close(file);
	return read_all && trailer->magic == ROWAN_MAGIC &&
		((PageHeader) block.data)->pd_flags == ROWAN_PAGE_SEAL &&
		trailer->self_block == ROWAN_HEADER_BLOCK;
}

void
heap_errors_rethrow(MemoryContext context)
{
	ErrorData  *error;
	char		path[MAXPGPATH];

	/* the usual case costs nothing */
	if (geterrcode() != ERRCODE_DATA_CORRUPTED)
		PG_RE_THROW();
	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	FlushErrorState();
	if (is_about_page(error) && find_path(error->message, path) && file_is_ours(path))
	{
		error->sqlerrcode = ERRCODE_FEATURE_NOT_SUPPORTED;
		error->message = psprintf("cannot use a file of Rowan as that of a heap table or of an index of another access method: %s",
								  path);
		error->detail = pstrdup("A function that works with those only was given a Rowan table or index, or the catalog names "
								"another access method for the file. Nothing was changed.");
		error->hint = pstrdup("If it is an index, use REINDEX. If it is a table of an extension, try ALTER TABLE ... SET ACCESS METHOD heap.");
	}
	ReThrowError(error);
}
