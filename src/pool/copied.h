/*
 * copied.h
 *	  Databases that were copied from a template.
 *
 * Redo of CREATE DATABASE copies the template's files as they are when it is done, and redo that
 * begins before it may be done long after: after a crash of a standby, or from a base backup.  If
 * the template has changed meanwhile, so have the pages of the copy, and no record that tells what
 * changes on one of them would fit.  Heap's pages have images in WAL then, for CREATE DATABASE
 * makes a checkpoint.  Ours get theirs by this:
 *
 *	The first change that a page of a copy undergoes has an image of it.
 *
 * A page of a copy that has not changed since is known by its LSN: it is older than the copy.  So
 * are pages of other databases; they have one image more than they need, as heap's have.
 *
 * A database that moves to another tablespace needs none of that: what redo then copies too early
 * is the same database's, and its pages' LSNs tell which records they have already.
 */
#ifndef ROWAN_POOL_COPIED_H
#define ROWAN_POOL_COPIED_H

extern void copied_shmem_init(void);

/* At load. */
extern void copied_register(void);

/*
 * A database has been copied, and nobody has been able to connect to the copy so far.  Logs that.
 * May raise I/O errors.
 */
extern void copied_database(const char *name);

#endif							/* ROWAN_POOL_COPIED_H */
