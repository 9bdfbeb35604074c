/*
 * map.c
 *	  The page table: from tag to frame.
 *
 * Buckets hold frame numbers; frames are chained by hash_next.  Readers walk without a
 * lock (map_find_optimistic, frame.h).  Chains are changed under the partition lock of
 * their bucket, exclusively; a frame is put in or taken out by whoever has it latched
 * exclusively with its version odd.  A walker that stands on a frame being moved
 * ends up in another chain or at an end: it finds nothing, and asks map_find.
 *
 * Must never wait for a frame latch.
 */
#include "postgres.h"

#include "pool/frame.h"
#include "port/pg_bitutils.h"
#include "storage/shmem.h"

pg_atomic_uint32 *map_buckets;
uint32		map_mask;

static LWLockPadded *partitions;

static uint32
bucket_count(void)
{
	return pg_nextpower2_32((uint32) pool_buffers_setting);
}

Size
map_shmem_size(void)
{
	return add_size(mul_size(bucket_count(), sizeof(pg_atomic_uint32)),
					sizeof(LWLockPadded) * POOL_PARTITIONS);
}

void
map_shmem_init(void)
{
	bool		found;
	uint32		buckets = bucket_count();

	partitions = ShmemInitStruct("rowan map locks", sizeof(LWLockPadded) * POOL_PARTITIONS, &found);
	map_buckets = ShmemInitStruct("rowan map", buckets * sizeof(pg_atomic_uint32), &found);
	map_mask = buckets - 1;
	if (found)
		return;
	for (int i = 0; i < POOL_PARTITIONS; i++)
		LWLockInitialize(&partitions[i].lock, pool_control->map_tranche);
	for (uint32 i = 0; i < buckets; i++)
		pg_atomic_init_u32(&map_buckets[i], POOL_NO_FRAME);
}

/* A bucket belongs to one partition, as there are at least as many buckets. */
static LWLock *
bucket_lock(uint32 bucket)
{
	return &partitions[bucket % POOL_PARTITIONS].lock;
}

static PoolFrame *
find_locked(const PoolTag *tag, uint32 bucket)
{
	uint32		index = pg_atomic_read_u32(&map_buckets[bucket]);

	while (index != POOL_NO_FRAME)
	{
		PoolFrame  *frame = &pool_frames[index];

		if (tag_equal(&frame->tag, tag))
			return frame;
		index = pg_atomic_read_u32(&frame->hash_next);
	}
	return NULL;
}

/* The frame that holds or is being loaded with the page, or NULL: it is not in the pool. */
PoolFrame *
map_find(const PoolTag *tag)
{
	uint32		bucket = map_bucket(tag);
	LWLock	   *lock = bucket_lock(bucket);
	PoolFrame  *frame;

	LWLockAcquire(lock, LW_SHARED);
	frame = find_locked(tag, bucket);
	LWLockRelease(lock);
	return frame;
}

/* Puts a taken frame into the chain of its tag; false if another frame has that tag. */
bool
map_insert(PoolFrame *frame)
{
	uint32		bucket = map_bucket(&frame->tag);
	LWLock	   *lock = bucket_lock(bucket);
	bool		inserted = false;

	Assert(frame_is_changing(frame));
	LWLockAcquire(lock, LW_EXCLUSIVE);
	if (find_locked(&frame->tag, bucket) == NULL)
	{
		pg_atomic_write_u32(&frame->hash_next, pg_atomic_read_u32(&map_buckets[bucket]));
		pg_write_barrier();
		pg_atomic_write_u32(&map_buckets[bucket], frame - pool_frames);
		inserted = true;
	}
	LWLockRelease(lock);
	return inserted;
}

static void
unlink_locked(PoolFrame *frame, uint32 bucket)
{
	uint32		wanted = frame - pool_frames;
	pg_atomic_uint32 *link = &map_buckets[bucket];

	while (pg_atomic_read_u32(link) != wanted)
	{
		uint32		index = pg_atomic_read_u32(link);

		if (index == POOL_NO_FRAME)
			elog(PANIC, "rowan: frame %u is missing in its chain", wanted);
		link = &pool_frames[index].hash_next;
	}
	pg_atomic_write_u32(link, pg_atomic_read_u32(&frame->hash_next));
}

/* Takes a frame out of the chain of the tag that it had. */
void
map_remove(const PoolTag *tag, PoolFrame *frame)
{
	uint32		bucket = map_bucket(tag);
	LWLock	   *lock = bucket_lock(bucket);

	Assert(frame_is_changing(frame));
	LWLockAcquire(lock, LW_EXCLUSIVE);
	unlink_locked(frame, bucket);
	LWLockRelease(lock);
}

/*
 * For replacement: makes the tag invalid and takes the frame out of its chain,
 * unless somebody waits for this page.  Waiters register first and read the tag
 * then, we do it the other way round: one of us sees the other.  Under the partition
 * lock, so that nobody loads the page a second time before it is decided.
 */
bool
map_take_out(PoolFrame *frame)
{
	PoolTag		tag = frame->tag;
	uint32		bucket = map_bucket(&tag);
	LWLock	   *lock = bucket_lock(bucket);
	bool		taken;

	Assert(frame_is_changing(frame));
	LWLockAcquire(lock, LW_EXCLUSIVE);
	tag_set_free(&frame->tag);
	pg_memory_barrier();
	taken = pg_atomic_read_u32(&frame->waiters) == 0;
	if (taken)
		unlink_locked(frame, bucket);
	else
		frame->tag = tag;
	LWLockRelease(lock);
	return taken;
}
