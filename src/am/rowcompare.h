/*
 * rowcompare.h
 *	  Row comparisons as conditions of rowan_btree indexes.
 */
#ifndef ROWAN_AM_ROWCOMPARE_H
#define ROWAN_AM_ROWCOMPARE_H

/* Once, at load. */
extern void rowcompare_install(void);

#endif							/* ROWAN_AM_ROWCOMPARE_H */
