/*
 * file_cache.h
 *	  What a backend remembers of files: small arrays with an entry a file, or a part of one.
 *
 * An entry is where the file's number says; a file that has the same place takes it over.  Nobody
 * is told when a file changes, goes, or comes again under its number.  So what an entry says is a
 * hint: who finds one asks the page itself, or its frame's version, whether that is true still.
 * doc/architecture.md lists all of them, and what makes each safe.
 *
 * Takes no latches; raises nothing.
 */
#ifndef ROWAN_POOL_FILE_CACHE_H
#define ROWAN_POOL_FILE_CACHE_H

#include "pool/pool.h"

/* The first member of each entry; all zero: unused, as no file has the number 0. */
typedef struct FileKey
{
	RelFileLocator locator;
	ProcNumber	backend;
} FileKey;

typedef struct FileCache
{
	void	   *entries;
	Size		entry_size;
	uint32		nentries;		/* a power of two */
} FileCache;

/* Defines a cache of `n` entries of a struct type whose first member is `FileKey key`. */
#define FILE_CACHE(name, type, n) \
	StaticAssertDecl(offsetof(type, key) == 0, "a cached entry begins with its key"); \
	StaticAssertDecl(((n) & ((n) - 1)) == 0, "a cache has 2^n entries"); \
	static type name##_entries[n]; \
	static const FileCache name = {name##_entries, sizeof(type), n}

static inline FileKey *
file_cache_place(const FileCache *cache, const PoolFile *file, uint32 part)
{
	uint32		i = (file->locator.relNumber * 61 + part) & (cache->nentries - 1);

	return (FileKey *) ((char *) cache->entries + i * cache->entry_size);
}

static inline bool
file_key_is_of(const FileKey *key, const PoolFile *file)
{
	return RelFileLocatorEquals(key->locator, file->locator) && key->backend == file->backend;
}

/* The entry of a part of the file (0, if there are none), or NULL. */
static inline void *
file_cache_find(const FileCache *cache, const PoolFile *file, uint32 part)
{
	FileKey    *key = file_cache_place(cache, file, part);

	return file_key_is_of(key, file) ? key : NULL;
}

/* The same; made, all zero but for its key, if there is none. */
static inline void *
file_cache_make(const FileCache *cache, const PoolFile *file, uint32 part)
{
	FileKey    *key = file_cache_place(cache, file, part);

	if (!file_key_is_of(key, file))
	{
		memset(key, 0, cache->entry_size);
		key->locator = file->locator;
		key->backend = file->backend;
	}
	return key;
}

#endif							/* ROWAN_POOL_FILE_CACHE_H */
