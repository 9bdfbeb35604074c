/*
 * replace.c
 *	  Finds a frame for a page to be loaded: CLOCK over all frames, or a scan's ring.
 *
 * Runs while its caller may hold latches, so victims' latches are taken
 * conditionally only.  The recipe for a victim:
 *
 *	1. not referenced lately, not latched, nobody waits for it
 *	2. dirty: its WAL flushed, then written under its shared latch
 *	3. latched exclusively (conditionally), still clean: version odd
 *	4. tag invalid, out of its chain
 *
 * Must not be called in a critical section.
 */
#include "postgres.h"

#include "base/fault.h"
#include "miscadmin.h"
#include "pool/frame.h"
#include "utils/timestamp.h"

/* Dirty frames passed over for want of a WAL flush before we do one. */
#define SKIP_UNFLUSHED	32

#define GIVE_UP_MS		60000

/* Exclusively latched and clean; true: taken, out of the map. */
static bool
take_latched(PoolFrame *frame)
{
	bool		taken;

	if (frame->dirty)
		return false;
	frame_version_advance(frame);
	if (frame->tag.block == InvalidBlockNumber)
		taken = pg_atomic_read_u32(&frame->waiters) == 0;
	else
	{
		taken = map_take_out(frame);
		if (taken)
			count_one(COUNT_EVICTIONS);
	}
	if (!taken)
		frame_version_advance(frame);
	return taken;
}

/* Writes a dirty victim; false if it is not to be had now. */
static bool
clean_victim(PoolFrame *frame, bool flush_wal)
{
	WriteResult result;

	if (io_needs_wal_flush(frame))
	{
		if (!flush_wal)
			return false;
		io_flush_wal(frame);
	}
	if (!LWLockConditionalAcquire(&frame->latch, LW_SHARED))
		return false;
	FAULT_POINT(pool_evict);
	result = io_write(frame);
	LWLockRelease(&frame->latch);
	if (result == WRITE_DONE)
		count_one(COUNT_BACKEND_WRITES);
	return true;
}

static bool
take_victim(PoolFrame *frame, bool flush_wal)
{
	if (frame->dirty && !clean_victim(frame, flush_wal))
		return false;
	if (!LWLockConditionalAcquire(&frame->latch, LW_EXCLUSIVE))
		return false;
	if (take_latched(frame))
		return true;
	LWLockRelease(&frame->latch);
	return false;
}

/* ---- CLOCK ---- */

typedef struct ClockSearch
{
	uint64		steps;
	int			unflushed;		/* dirty victims passed over */
	TimestampTz waiting_since;	/* 0: not yet */
} ClockSearch;

/* All frames have been looked at several times: they are latched. */
static void
wait_for_frames(ClockSearch *search)
{
	if (search->waiting_since == 0)
		search->waiting_since = GetCurrentTimestamp();
	else if (TimestampDifferenceExceeds(search->waiting_since, GetCurrentTimestamp(), GIVE_UP_MS))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("no free frame in rowan's buffer pool"),
				 errdetail("All %d frames are in use.", pool_n_frames),
				 errhint("Increase rowan.buffers.")));
	pg_usleep(1000);
	CHECK_FOR_INTERRUPTS();		/* a no-op while latches are held */
}

static PoolFrame *
next_frame(void)
{
	uint32		hand = pg_atomic_fetch_add_u32(&pool_control->clock_hand, 1);

	return &pool_frames[hand % (uint32) pool_n_frames];
}

/* True if the hand may stop here: the frame is free, or its turns are used up. */
static bool
is_candidate(PoolFrame *frame, int pass)
{
	uint8		referenced = frame->referenced;

	if (frame->tag.block == InvalidBlockNumber || referenced == 0 ||
		pass > POOL_REFERENCED_MAX)
		return true;
	frame->referenced = referenced - 1;
	return false;
}

static PoolFrame *
clock_take(void)
{
	ClockSearch search = {0};

	for (;;)
	{
		PoolFrame  *frame = next_frame();
		int			pass = search.steps / pool_n_frames;
		bool		flush_wal = pass > 0 || search.unflushed >= SKIP_UNFLUSHED;

		if (++search.steps % pool_n_frames == 0 && pass > POOL_REFERENCED_MAX)
			wait_for_frames(&search);
		if (!is_candidate(frame, pass))
			continue;
		if (take_victim(frame, flush_wal))
			return frame;
		if (frame->dirty)
			search.unflushed++;
	}
}

/* ---- rings ---- */

/* The frame that the scan loaded a round ago, if nobody else has used the page since. */
static PoolFrame *
ring_take(PoolRing *ring)
{
	int			index = ring->frame[ring->next] - 1;
	PoolFrame  *frame;

	if (index < 0 || index >= pool_n_frames)
		return NULL;
	frame = &pool_frames[index];
	if (!tag_equal(&frame->tag, &ring->tag[ring->next]) || frame->referenced != 0 ||
		!take_victim(frame, false))
		return NULL;
	return frame;
}

/* A page of the scan was loaded into this frame: to be reused in the next round. */
void
ring_remember(PoolRing *ring, const PoolFrame *frame)
{
	ring->frame[ring->next] = (frame - pool_frames) + 1;
	ring->tag[ring->next] = frame->tag;
	ring->next = (ring->next + 1) % POOL_RING_SIZE;
}

/* A frame that is latched exclusively, version odd, tag invalid, in no chain. */
PoolFrame *
replace_take(PoolRing *ring)
{
	PoolFrame  *frame = ring ? ring_take(ring) : NULL;

	if (frame == NULL)
		frame = clock_take();
	Assert(frame_is_changing(frame) && frame->tag.block == InvalidBlockNumber);
	return frame;
}
