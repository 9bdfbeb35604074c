/*
 * restartpoint.h
 *	  Checkpoint records in recovery.
 */
#ifndef ROWAN_POOL_RESTARTPOINT_H
#define ROWAN_POOL_RESTARTPOINT_H

#include "access/xlogreader.h"

typedef void (*RestartpointRedo) (XLogReaderState *record);

/* At load: core's redo function of RM_XLOG_ID. */
extern void restartpoint_register(RestartpointRedo xlog_redo);

/* All of these: startup process, no latches. */

/* Redo of a checkpoint record, core's part of it included. May raise I/O errors. */
extern void restartpoint_checkpoint_redo(XLogReaderState *record);

/* Before the redo of a record that ends the timeline. */
extern void restartpoint_end_of_timeline(void);

/* Before the redo of a record of ours: there will be pages to be written. */
extern void restartpoint_first_record(void);

/*
 * Before the redo of a record, often: makes a candidate known whose pages have been written
 * meanwhile.
 */
extern uint64 restartpoint_request;
extern void restartpoint_follow_up_slowly(void);

static inline void
restartpoint_follow_up(void)
{
	if (unlikely(restartpoint_request != 0))
		restartpoint_follow_up_slowly();
}

#endif							/* ROWAN_POOL_RESTARTPOINT_H */
