/*
 * flag_names.h
 *	  What users are shown for bits of flags.
 */
#ifndef ROWAN_BASE_FLAG_NAMES_H
#define ROWAN_BASE_FLAG_NAMES_H

typedef struct FlagName
{
	uint16		flag;
	const char *name;			/* NULL ends a list */
} FlagName;

extern const FlagName row_flag_names[]; /* ROW_* */
extern const FlagName deleted_row_flag_names[]; /* the same, with ROW_DELETED */
extern const FlagName page_flag_names[];	/* PAGE_* */

/* Of a page's type (ROWAN_PAGE_TYPES), a version record's kind (VersionKind); whatever it is. */
extern const char *page_type_name(uint8 type);
extern const char *version_kind_name(uint16 kind);

#endif							/* ROWAN_BASE_FLAG_NAMES_H */
