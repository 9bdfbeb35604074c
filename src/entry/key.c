/*
 * key.c
 *	  Keys of index entries: comparing, and mapping to numbers ("heads").
 *
 * Calls comparison functions of operator classes, which may raise errors.  Takes no
 * latches.
 *
 * Heads: head(a) < head(b) implies a < b.  NULLs take the end that they sort to; nothing follows
 * from equal heads.
 */
#include "postgres.h"

#include <math.h>

#include "access/detoast.h"
#include "access/nbtree.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type_d.h"
#include "entry/entry.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/uuid.h"

/* ---- points ---- */

void
key_point_init(const KeyDesc *keys, KeyPoint *point, int nkeys, KeyTail tail)
{
	point->nkeys = nkeys;
	point->tail = tail;
	ItemPointerSetInvalid(&point->tid);
}

/* Integers of all widths share one scale, so an argument of another width has a head too. */
static HeadKind
head_kind_of_subtype(Oid subtype)
{
	switch (subtype)
	{
		case INT2OID:
			return HEAD_INT2;
		case INT4OID:
			return HEAD_INT4;
		case INT8OID:
			return HEAD_INT8;
		default:
			return HEAD_NONE;
	}
}

static inline bool
is_integer_kind(HeadKind kind)
{
	return kind == HEAD_INT2 || kind == HEAD_INT4 || kind == HEAD_INT8;
}

HeadKind
key_argument_kind(const KeyDesc *keys, int i, Oid subtype)
{
	if (!OidIsValid(subtype))
		return keys->kinds[i];
	return is_integer_kind(keys->kinds[i]) ? head_kind_of_subtype(subtype) : HEAD_NONE;
}

void
key_point_from_tuple(const KeyDesc *keys, KeyPoint *point, IndexTuple tuple, int natts,
					 KeyTail tail, const ItemPointerData *tid)
{
	key_point_init(keys, point, Min(natts, keys->nkeyatts), tail);
	if (tid != NULL)
		point->tid = *tid;
	for (int i = 0; i < point->nkeys; i++)
	{
		bool		is_null;
		Datum		value = index_getattr(tuple, i + 1, keys->desc, &is_null);

		ScanKeyEntryInitializeWithInfo(&point->keys[i],
									   (is_null ? SK_ISNULL : 0) |
									   (keys->option[i] << SK_BT_INDOPTION_SHIFT),
									   i + 1, InvalidStrategy, InvalidOid,
									   keys->collation[i], keys->compare[i], value);
		point->kinds[i] = keys->kinds[i];
	}
}

/* The point that a separator or fence is.  Its tuple must outlive the point. */
void
key_point_from_item(const KeyDesc *keys, KeyPoint *point, const IndexItem *item)
{
	if (item->is_infinite)
		key_point_init(keys, point, 0, TAIL_HIGH);
	else
		key_point_from_tuple(keys, point, item->tuple, item->natts,
							 item->has_tid ? TAIL_TID : TAIL_LOW,
							 item->has_tid ? &item->tid : NULL);
}

/* ---- comparing ---- */

static inline int
sign(int32 value)
{
	return value < 0 ? -1 : value > 0;
}

static inline int64
integer_value(HeadKind kind, Datum value)
{
	return kind == HEAD_INT8 ? DatumGetInt64(value) :
		kind == HEAD_INT4 ? DatumGetInt32(value) : DatumGetInt16(value);
}

static inline bool
is_plain_varlena(Datum value)
{
	struct varlena *bytes = (struct varlena *) DatumGetPointer(value);

	return !VARATT_IS_EXTENDED(bytes) || VARATT_IS_SHORT(bytes);
}

static inline int
compare_bytes(Datum a, Datum b)
{
	struct varlena *x = (struct varlena *) DatumGetPointer(a);
	struct varlena *y = (struct varlena *) DatumGetPointer(b);
	int			x_size = VARSIZE_ANY_EXHDR(x);
	int			y_size = VARSIZE_ANY_EXHDR(y);
	int			result = memcmp(VARDATA_ANY(x), VARDATA_ANY(y), Min(x_size, y_size));

	return result != 0 ? result : x_size - y_size;
}

/* The value against the argument, by the comparison function or as that would do it. */
static inline int
compare_values(const ScanKeyData *key, HeadKind column, HeadKind argument, Datum value)
{
	int32		result;

	switch (argument)
	{
		case HEAD_INT2:
		case HEAD_INT4:
		case HEAD_INT8:
			{
				int64		a = integer_value(column, value);
				int64		b = integer_value(argument, key->sk_argument);

				return a < b ? -1 : a > b;
			}
		case HEAD_UUID:
			return memcmp(DatumGetUUIDP(value), DatumGetUUIDP(key->sk_argument), UUID_LEN);
		case HEAD_BYTES:
			if (is_plain_varlena(value) && is_plain_varlena(key->sk_argument))
				return compare_bytes(value, key->sk_argument);
			break;
		default:
			break;
	}
	held_enter_function();
	result = DatumGetInt32(FunctionCall2Coll(unconstify(FmgrInfo *, &key->sk_func),
											 key->sk_collation, value, key->sk_argument));
	held_leave_function();
	return result;
}

/* One column. */
static inline int
compare_column(const ScanKeyData *key, HeadKind column, HeadKind argument, Datum value,
			   bool is_null)
{
	int			result;

	if (key->sk_flags & SK_ISNULL)
	{
		if (is_null)
			return 0;
		return key->sk_flags & SK_BT_NULLS_FIRST ? -1 : 1;
	}
	if (is_null)
		return key->sk_flags & SK_BT_NULLS_FIRST ? 1 : -1;
	result = sign(compare_values(key, column, argument, value));
	return key->sk_flags & SK_BT_DESC ? result : -result;
}

int
key_compare_argument(const KeyDesc *keys, int i, const ScanKeyData *key, HeadKind kind,
					 Datum value, bool is_null)
{
	return compare_column(key, keys->kinds[i], kind, value, is_null);
}

bool
key_compare_integers(HeadKind a_kind, Datum a, HeadKind b_kind, Datum b, int *result)
{
	int64		x;
	int64		y;

	if (!is_integer_kind(a_kind) || !is_integer_kind(b_kind))
		return false;
	x = integer_value(a_kind, a);
	y = integer_value(b_kind, b);
	*result = x < y ? -1 : x > y;
	return true;
}

int
key_compare_first(const KeyDesc *keys, const KeyPoint *point, const IndexItem *item,
				  bool *maybe_inside)
{
	int			common = Min(point->nkeys, item->natts);
	int			result;

	if (maybe_inside != NULL)
		*maybe_inside = false;
	if (item->is_infinite)
		return point->nkeys == 0 && point->tail == TAIL_HIGH ? 0 : -1;
	for (int i = 0; i < common; i++)
	{
		bool		is_null;
		Datum		value = index_getattr(item->tuple, i + 1, keys->desc, &is_null);

		result = compare_column(&point->keys[i], keys->kinds[i], point->kinds[i], value, is_null);
		if (result != 0)
			return result;
	}
	if (point->nkeys > item->natts)
		return 1;				/* the separator goes on with minus infinity */
	switch (point->tail)
	{
		case TAIL_HIGH:
			return 1;
		case TAIL_TID:
			if (!item->has_tid)
				return 1;
			result = ItemPointerCompare(unconstify(ItemPointerData *, &point->tid),
										unconstify(ItemPointerData *, &item->tid));
			if (maybe_inside != NULL)
				*maybe_inside = result > 0 && item->ntids > 1;
			return result;
		case TAIL_LOW:
		default:
			return Min(item->natts, keys->nkeyatts) > point->nkeys || item->has_tid ? -1 : 0;
	}
}

int
key_compare(const KeyDesc *keys, const KeyPoint *point, const IndexItem *item)
{
	bool		maybe_inside;
	int			result = key_compare_first(keys, point, item, &maybe_inside);

	if (maybe_inside && ItemPointerCompare(unconstify(ItemPointerData *, &point->tid),
										   unconstify(ItemPointerData *, &item->last_tid)) <= 0)
		return 0;
	return result;
}

int
key_compare_column(const KeyDesc *keys, const KeyPoint *point, int i, Datum value, bool is_null)
{
	return compare_column(&point->keys[i], keys->kinds[i], point->kinds[i], value, is_null);
}

/* Columns 1 ... natts; first_difference: number of the column, or natts + 1. */
int
key_compare_tuples(const KeyDesc *keys, IndexTuple a, IndexTuple b, int natts,
				   int *first_difference)
{
	for (int i = 0; i < natts; i++)
	{
		ScanKeyData key;
		bool		a_null,
					b_null;
		Datum		a_value = index_getattr(a, i + 1, keys->desc, &a_null);
		Datum		b_value = index_getattr(b, i + 1, keys->desc, &b_null);
		int			result;

		ScanKeyEntryInitializeWithInfo(&key,
									   (a_null ? SK_ISNULL : 0) |
									   (keys->option[i] << SK_BT_INDOPTION_SHIFT),
									   i + 1, InvalidStrategy, InvalidOid,
									   keys->collation[i], keys->compare[i], a_value);
		result = compare_column(&key, keys->kinds[i], keys->kinds[i], b_value, b_null);
		if (result != 0)
		{
			*first_difference = i + 1;
			return result;
		}
	}
	*first_difference = natts + 1;
	return 0;
}

/*
 * All columns have the same bytes: only then may one tuple stand for both.  Tuples read from pages
 * may have zeroes more at their end.
 */
bool
key_equal_images(IndexTuple a, IndexTuple b)
{
	const char *x = (const char *) a + sizeof(IndexTupleData);
	const char *y = (const char *) b + sizeof(IndexTupleData);
	int			x_size = IndexTupleSize(a) - sizeof(IndexTupleData);
	int			y_size = IndexTupleSize(b) - sizeof(IndexTupleData);
	int			common = Min(x_size, y_size);

	if (IndexTupleHasNulls(a) != IndexTupleHasNulls(b) || memcmp(x, y, common) != 0)
		return false;
	for (int i = common; i < Max(x_size, y_size); i++)
		if ((x_size > y_size ? x : y)[i] != 0)
			return false;
	return true;
}

/* ---- heads ---- */

HeadKind
key_head_kind(Oid compare, Oid collation)
{
	switch (compare)
	{
		case F_BTBOOLCMP:
			return HEAD_BOOL;
		case F_BTCHARCMP:
			return HEAD_CHAR;
		case F_BTINT2CMP:
			return HEAD_INT2;
		case F_BTINT4CMP:
		case F_DATE_CMP:
			return HEAD_INT4;
		case F_BTINT8CMP:
		case F_TIMESTAMP_CMP:
		case F_TIMESTAMPTZ_CMP:
		case F_TIME_CMP:
			return HEAD_INT8;
		case F_BTOIDCMP:
			return HEAD_OID;
		case F_BTFLOAT4CMP:
			return HEAD_FLOAT4;
		case F_BTFLOAT8CMP:
			return HEAD_FLOAT8;
		case F_UUID_CMP:
			return HEAD_UUID;
		case F_BYTEACMP:
		case F_BTTEXT_PATTERN_CMP:
			return HEAD_BYTES;
		case F_BTTEXTCMP:
			return OidIsValid(collation) && collation_is_c(collation) ? HEAD_BYTES : HEAD_NONE;
		default:
			return HEAD_NONE;
	}
}

static uint64
big_endian(const unsigned char *bytes, int size)
{
	uint64		value = 0;

	for (int i = 0; i < 8; i++)
		value = value << 8 | (i < size ? bytes[i] : 0);
	return value;
}

static uint64
head_of_float(double value)
{
	uint64		bits;

	if (isnan(value))
		return PG_UINT64_MAX;
	if (value == 0)
		value = 0;				/* minus zero equals zero */
	memcpy(&bits, &value, sizeof(bits));
	return bits >> 63 ? ~bits : bits | UINT64CONST(1) << 63;
}

static inline uint64
head_of_integer(int64 value)
{
	return (uint64) value ^ UINT64CONST(1) << 63;
}

/*
 * A large value may be stored compressed: then it is unpacked, so that equal values have equal
 * heads.
 */
static uint64
head_of_bytes(Datum value, int skip)
{
	struct varlena *stored = (struct varlena *) DatumGetPointer(value);
	struct varlena *bytes = VARATT_IS_EXTENDED(stored) && !VARATT_IS_SHORT(stored) ?
		detoast_attr(stored) : stored;
	int			size = VARSIZE_ANY_EXHDR(bytes);
	uint64		head = 0;

	if (size > skip)
		head = big_endian((unsigned char *) VARDATA_ANY(bytes) + skip, size - skip);
	if (bytes != stored)
		pfree(bytes);
	return head;
}

static uint64
ascending_head(HeadKind kind, Datum value, int skip)
{
	switch (kind)
	{
		case HEAD_BOOL:
			return DatumGetBool(value) ? 1 : 0;
		case HEAD_CHAR:
			return (uint8) DatumGetChar(value);
		case HEAD_INT2:
			return head_of_integer(DatumGetInt16(value));
		case HEAD_INT4:
			return head_of_integer(DatumGetInt32(value));
		case HEAD_INT8:
			return head_of_integer(DatumGetInt64(value));
		case HEAD_OID:
			return DatumGetObjectId(value);
		case HEAD_FLOAT4:
			return head_of_float(DatumGetFloat4(value));
		case HEAD_FLOAT8:
			return head_of_float(DatumGetFloat8(value));
		case HEAD_UUID:
			return big_endian(DatumGetUUIDP(value)->data, 8);
		case HEAD_BYTES:
			return head_of_bytes(value, skip);
		case HEAD_NONE:
		default:
			return 0;
	}
}

/* In the order of the first column; skip: bytes of a varlena to leave out in front. */
uint64
key_head(const KeyDesc *keys, HeadKind kind, Datum value, bool is_null, int skip)
{
	uint64		head;

	if (kind == HEAD_NONE)
		return 0;
	if (is_null)
		return keys->option[0] & INDOPTION_NULLS_FIRST ? 0 : PG_UINT64_MAX;
	head = ascending_head(kind, value, skip);
	return keys->option[0] & INDOPTION_DESC ? ~head : head;
}

/* Bytes that two values of the first column begin with in common, and so do all values between. */
int
key_common_bytes(const KeyDesc *keys, Datum a, Datum b)
{
	struct varlena *x = (struct varlena *) DatumGetPointer(a);
	struct varlena *y = (struct varlena *) DatumGetPointer(b);
	int			common = 0;
	int			limit;

	if (keys->kinds[0] != HEAD_BYTES ||
		(VARATT_IS_EXTENDED(x) && !VARATT_IS_SHORT(x)) ||
		(VARATT_IS_EXTENDED(y) && !VARATT_IS_SHORT(y)))
		return 0;
	limit = Min(VARSIZE_ANY_EXHDR(x), VARSIZE_ANY_EXHDR(y));
	while (common < limit && VARDATA_ANY(x)[common] == VARDATA_ANY(y)[common])
		common++;
	return common;
}

/*
 * Of two separators or fences; the child block is no part of the point.  A fence is a copy of the
 * parent's separator, so bytes are compared: a merge asks this while its change is open, when no
 * comparison function may run (I-IDX-12).
 */
bool
key_same_point(const IndexItem *a, const IndexItem *b)
{
	if (a->is_infinite || b->is_infinite)
		return a->is_infinite == b->is_infinite;
	if (a->natts != b->natts || a->has_tid != b->has_tid)
		return false;
	if (a->has_tid && ItemPointerCompare(unconstify(ItemPointerData *, &a->tid),
										 unconstify(ItemPointerData *, &b->tid)) != 0)
		return false;
	return a->natts == 0 || key_equal_images(a->tuple, b->tuple);
}
