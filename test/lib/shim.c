/*
 * shim.c
 *	  LD_PRELOAD library of the tests: simulated power loss and full disks.
 *
 * ROWAN_SHIM_JOURNAL=FILE: before each write to a relation or WAL file the
 * old content goes to FILE, as do begin and end of each write and sync; after
 * a kill, powerloss.py takes back what no completed sync covers.  The real
 * syncs are left out: the journal alone says what would have been durable.
 *
 * ROWAN_SHIM_FULL=FILE: while FILE.grow exists, relation files under base/ cannot grow; while FILE.write
 * exists, they cannot be written at all; while FILE.wal exists, WAL cannot be written: ENOSPC.
 *
 * ROWAN_SHIM_SLEEPY=1: the postmaster is slow to let signals in before it sleeps, so that it hears of deaths just
 * before and not while it sleeps, and goes on sleeping.
 *
 * Runs inside every server process: no locks, no allocation that outlives a
 * call, errno preserved.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum
{
	WRITE_BEGIN = 1, WRITE_END = 2, SYNC_BEGIN = 3, SYNC_END = 4
};

struct entry					/* powerloss.py knows this layout */
{
	uint32_t	type;
	uint32_t	length;			/* of the write */
	uint64_t	id;				/* same for begin and end */
	uint64_t	inode;
	uint64_t	birth_ns;		/* tells reused inodes apart */
	uint64_t	offset;
	uint64_t	old_length;		/* bytes of old content that follow */
};

static int	journal_fd = -1;
static pid_t journal_pid;
static uint64_t counter;
static const char *journal_path;
static const char *full_path;

static ssize_t (*real_pwrite) (int, const void *, size_t, off_t);
static ssize_t (*real_pwritev) (int, const struct iovec *, int, off_t);
static ssize_t (*real_pread) (int, void *, size_t, off_t);
static int	(*real_fsync) (int);
static int	(*real_fdatasync) (int);
static int	(*real_fallocate) (int, off_t, off_t);
static int	(*real_sigprocmask) (int, const sigset_t *, sigset_t *);
static pid_t sleepy;			/* the postmaster's, or 0 */

/* The server overwrites its environment with the process title. */
static const char *
copied(const char *value)
{
	return value ? strdup(value) : NULL;
}

__attribute__((constructor))
static void
shim_init(void)
{
	real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
	real_pwritev = dlsym(RTLD_NEXT, "pwritev64");
	real_pread = dlsym(RTLD_NEXT, "pread64");
	real_fsync = dlsym(RTLD_NEXT, "fsync");
	real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
	real_fallocate = dlsym(RTLD_NEXT, "posix_fallocate64");
	journal_path = copied(getenv("ROWAN_SHIM_JOURNAL"));
	real_sigprocmask = dlsym(RTLD_NEXT, "sigprocmask");
	full_path = copied(getenv("ROWAN_SHIM_FULL"));
	sleepy = getenv("ROWAN_SHIM_SLEEPY") ? getpid() : 0;
}

static int
journal_open(void)
{
	if (journal_path == NULL)
		return 0;
	if (journal_fd < 0)
	{
		int			fd = open(journal_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);

		/* a high number, out of the way of the server's own */
		journal_fd = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 900);
		if (fd >= 0)
			close(fd);
	}
	if (journal_pid != getpid())
	{
		journal_pid = getpid();
		counter = (uint64_t) journal_pid << 40;
	}
	return journal_fd >= 0;
}

/* The file's path if it is one that we watch. */
static int
watched(int fd, char *path, size_t size)
{
	char		link[64];
	ssize_t		n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, size - 1);
	if (n <= 0)
		return 0;
	path[n] = '\0';
	return strstr(path, "/base/") != NULL || strstr(path, "/pg_wal/") != NULL ||
		strstr(path, "/global/") != NULL || strstr(path, "/pg_xact/") != NULL;
}

static int
identify(int fd, struct entry *e)
{
	char		path[512];
	struct statx sx;

	if (!watched(fd, path, sizeof(path)))
		return 0;
	if (strstr(path, "pg_control") != NULL)
		return 0;				/* one sector, always synced */
	if (statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &sx) != 0)
		return 0;
	e->inode = sx.stx_ino;
	e->birth_ns = (uint64_t) sx.stx_btime.tv_sec * 1000000000ULL + sx.stx_btime.tv_nsec;
	return 1;
}

static void
put(const void *data, size_t size)
{
	if (write(journal_fd, data, size) < 0)
		_exit(121);				/* a journal with a hole would prove nothing */
}

static void
journal_mark(const struct entry *e, int type)
{
	struct entry copy = *e;
	int			saved = errno;

	copy.type = type;
	copy.old_length = 0;
	put(&copy, sizeof(copy));
	errno = saved;
}

/*
 * Two processes may write the same page at the same time (the same bytes, under a shared latch).  Here one waits for
 * the other, or it would take what is half written for the page's old content.
 */
static void
lock_blocks(const struct entry *e, short type)
{
	struct flock lock = {.l_type = type, .l_whence = SEEK_SET};

	lock.l_start = (off_t) (e->inode & 0xffffff) << 32 | e->offset / 512;
	lock.l_len = (e->length + 511) / 512;
	while (fcntl(journal_fd, type == F_UNLCK ? F_SETLK : F_SETLKW, &lock) != 0)
		if (errno != EINTR)
			_exit(121);
}

static int
journal_write_begin(int fd, size_t length, off_t offset, struct entry *e)
{
	int			saved = errno;
	char	   *buffer;
	ssize_t		n;

	memset(e, 0, sizeof(*e));
	if (!journal_open() || !identify(fd, e))
	{
		errno = saved;
		return 0;
	}
	buffer = malloc(sizeof(*e) + length);
	if (buffer == NULL)
		_exit(121);
	e->type = WRITE_BEGIN;
	e->id = ++counter;
	e->offset = offset;
	e->length = length;
	lock_blocks(e, F_WRLCK);
	n = real_pread(fd, buffer + sizeof(*e), length, offset);
	if (n < 0)
		n = 0;
	e->old_length = n;
	memcpy(buffer, e, sizeof(*e));
	put(buffer, sizeof(*e) + n);
	free(buffer);
	errno = saved;
	return 1;
}

static void
journal_write_end(const struct entry *e)
{
	int			saved = errno;

	journal_mark(e, WRITE_END);
	lock_blocks(e, F_UNLCK);
	errno = saved;
}

static int
flag_is_set(const char *what)
{
	char		path[512];

	snprintf(path, sizeof(path), "%s.%s", full_path, what);
	return access(path, F_OK) == 0;
}

static int
refused_by_flags(int fd, size_t length, off_t offset)
{
	char		path[512];
	struct stat st;

	if (!watched(fd, path, sizeof(path)))
		return 0;
	if (strstr(path, "/pg_wal/") != NULL)
		return flag_is_set("wal");
	if (strstr(path, "/base/") == NULL)
		return 0;
	if (flag_is_set("write"))
		return 1;
	return flag_is_set("grow") && fstat(fd, &st) == 0 && offset + (off_t) length > st.st_size;
}

static int
refused(int fd, size_t length, off_t offset)
{
	int			saved = errno;
	int			result = full_path != NULL && refused_by_flags(fd, length, offset);

	errno = saved;
	return result;
}

ssize_t
pwrite64(int fd, const void *buffer, size_t n, off_t offset)
{
	struct entry e;
	int			logged;
	ssize_t		result;

	if (refused(fd, n, offset))
	{
		errno = ENOSPC;
		return -1;
	}
	logged = journal_write_begin(fd, n, offset, &e);
	result = real_pwrite(fd, buffer, n, offset);
	if (logged)
		journal_write_end(&e);
	return result;
}

ssize_t
pwrite(int fd, const void *buffer, size_t n, off_t offset)
{
	return pwrite64(fd, buffer, n, offset);
}

ssize_t
pwritev64(int fd, const struct iovec *v, int count, off_t offset)
{
	struct entry e;
	int			logged;
	ssize_t		result;
	size_t		n = 0;

	for (int i = 0; i < count; i++)
		n += v[i].iov_len;
	if (refused(fd, n, offset))
	{
		errno = ENOSPC;
		return -1;
	}
	logged = journal_write_begin(fd, n, offset, &e);
	result = real_pwritev(fd, v, count, offset);
	if (logged)
		journal_write_end(&e);
	return result;
}

ssize_t
pwritev(int fd, const struct iovec *v, int count, off_t offset)
{
	return pwritev64(fd, v, count, offset);
}

int
posix_fallocate64(int fd, off_t offset, off_t length)
{
	if (refused(fd, length, offset))
		return ENOSPC;
	return real_fallocate(fd, offset, length);
}

int
posix_fallocate(int fd, off_t offset, off_t length)
{
	return posix_fallocate64(fd, offset, length);
}

static int
sync_journaled(int fd, int (*real) (int))
{
	struct entry e;
	int			saved = errno;

	memset(&e, 0, sizeof(e));
	if (journal_path == NULL)
		return real(fd);
	if (!journal_open() || !identify(fd, &e))
	{
		errno = saved;
		return 0;
	}
	e.id = ++counter;
	journal_mark(&e, SYNC_BEGIN);
	journal_mark(&e, SYNC_END);
	errno = saved;
	return 0;
}

int
fsync(int fd)
{
	return sync_journaled(fd, real_fsync);
}

int
fdatasync(int fd)
{
	return sync_journaled(fd, real_fdatasync);
}

int
sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
	if (sleepy != 0 && sleepy == getpid() && set != NULL && !sigismember(set, SIGCHLD))
		usleep(30000);
	return real_sigprocmask(how, set, old);
}
