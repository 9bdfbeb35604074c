/*
 * key_method.h
 *	  The access method of indexes that PRIMARY KEY and UNIQUE constraints make.
 */
#ifndef ROWAN_CORE_KEY_METHOD_H
#define ROWAN_CORE_KEY_METHOD_H

#include "nodes/parsenodes.h"
#include "utils/elog.h"

/* rowan.default_key_access_method */
extern void key_method_define_setting(void);

/* Whether the statement may add keys, or change storage parameters; then apply changes it. */
extern bool key_method_concerns(Node *statement);
extern void key_method_apply(Node *statement);

/* Gives an error that core raised about such an index a hint. */
extern void key_method_explain(ErrorData *error, Node *statement);

#endif							/* ROWAN_CORE_KEY_METHOD_H */
