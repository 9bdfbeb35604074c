/*
 * index_move.h
 *	  ALTER INDEX ... SET TABLESPACE for indexes whose files core must not copy.
 */
#ifndef ROWAN_CORE_INDEX_MOVE_H
#define ROWAN_CORE_INDEX_MOVE_H

#include "nodes/parsenodes.h"

/*
 * The statement to carry out instead of ALTER INDEX ... SET TABLESPACE for an index of ours, or
 * NULL if it is something else.
 */
extern Node *index_move_statement(AlterTableStmt *statement);

/* Refuses ALTER INDEX ALL IN TABLESPACE if there is an index of ours. */
extern void index_move_check_all(AlterTableMoveAllStmt *statement);

#endif							/* ROWAN_CORE_INDEX_MOVE_H */
