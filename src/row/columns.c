/*
 * columns.c
 *	  Column values as row data, and back.
 *
 * Takes no latches, writes no WAL, allocates only in row_layout_create.  Row data may be hostile (a
 * page that changes meanwhile, a corrupt page): nothing is read outside the lengths that were
 * handed in, and a length that was checked is not read a second time.
 */
#include "postgres.h"

#include <limits.h>

#include "access/detoast.h"
#include "access/htup_details.h"
#include "access/tupmacs.h"
#include "row/codec.h"
#include "utils/expandeddatum.h"

#define round_up(n, to)		(((n) + (to) - 1) & ~((to) - 1))

/* ---- layout ---- */

static uint8
align_bytes(char attalign)
{
	switch (attalign)
	{
		case TYPALIGN_CHAR:
			return 1;
		case TYPALIGN_SHORT:
			return ALIGNOF_SHORT;
		case TYPALIGN_INT:
			return ALIGNOF_INT;
		default:
			return ALIGNOF_DOUBLE;
	}
}

/*
 * Values passed by value lie without alignment.  After pg_upgrade the catalog says of every dropped
 * column that it is passed by reference; its length and alignment are those it had.  Types passed
 * by value are aligned to their length; no built-in type passed by reference is, but somebody's own
 * may be.
 */
static bool
may_have_been_byval(Form_pg_attribute att)
{
	return att->attisdropped && !att->attbyval &&
		(att->attlen == 2 || att->attlen == 4 || att->attlen == 8) &&
		att->attlen == align_bytes(att->attalign);
}

/* dropped_byval: columns that may have been passed by value were. */
static void
layout_init(RowLayout *layout, TupleDesc desc, bool dropped_byval)
{
	Size		offset = 0;
	bool		constant = true;

	layout->desc = desc;
	layout->natts = desc->natts;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		struct RowColumn *column = &layout->columns[i];
		bool		unaligned = att->attbyval || (dropped_byval && may_have_been_byval(att));

		column->len = att->attlen;
		column->byval = att->attbyval;
		column->align = unaligned ? 1 : align_bytes(att->attalign);
		column->packable = att->attlen == -1 && att->attstorage != TYPSTORAGE_PLAIN;
		if (att->attbyval)
			column->shift = 64 - 8 * att->attlen;
		if (att->attlen > 0 && column->align > 1)
			layout->has_aligned_fixed = true;

		/* longer ones could not be stored without NULLs anyway */
		if (att->attlen <= 0 || offset + att->attlen > ROW_MAX_DATA)
			constant = false;
		if (constant)
		{
			offset = round_up(offset, column->align);
			column->offset = (uint16) offset;
			offset += att->attlen;
			layout->nfixed = i + 1;
		}
	}
}

/* One piece of memory, whatever is in it: those who keep layouts free them so. */
RowLayout *
row_layout_create(TupleDesc desc)
{
	Size		size = MAXALIGN(offsetof(RowLayout, columns) +
								desc->natts * sizeof(struct RowColumn));
	bool		ambiguous = false;
	RowLayout  *layout;

	for (int i = 0; i < desc->natts; i++)
		ambiguous |= may_have_been_byval(TupleDescAttr(desc, i));
	layout = palloc0(ambiguous ? 2 * size : size);
	layout_init(layout, desc, true);
	if (ambiguous)
	{
		layout->by_catalog = (RowLayout *) ((char *) layout + size);
		layout_init(layout->by_catalog, desc, false);
	}
	return layout;
}

/* ---- encoding ---- */

/* How a varlena is going to be stored. */
typedef enum VarlenaForm
{
	VARLENA_AS_IS_UNALIGNED,	/* short header, or a toast pointer */
	VARLENA_MAKE_SHORT,
	VARLENA_FLATTEN,			/* expanded object: 4-byte header, aligned */
	VARLENA_AS_IS_ALIGNED		/* 4-byte header */
} VarlenaForm;

static inline VarlenaForm
varlena_form(const struct RowColumn *column, Datum value, Size *size)
{
	Pointer		p = DatumGetPointer(value);

	if (VARATT_IS_EXTERNAL(p))
	{
		if (VARATT_IS_EXTERNAL_EXPANDED(p))
		{
			*size = EOH_get_flat_size(DatumGetEOHP(value));
			return VARLENA_FLATTEN;
		}
		*size = VARSIZE_EXTERNAL(p);
		return VARLENA_AS_IS_UNALIGNED;
	}
	if (VARATT_IS_SHORT(p))
	{
		*size = VARSIZE_SHORT(p);
		return VARLENA_AS_IS_UNALIGNED;
	}
	if (column->packable && VARATT_CAN_MAKE_SHORT(p))
	{
		*size = VARATT_CONVERTED_SHORT_SIZE(p);
		return VARLENA_MAKE_SHORT;
	}
	*size = VARSIZE(p);
	return VARLENA_AS_IS_ALIGNED;
}

Size
row_encoded_size(const RowLayout *layout, const Datum *values, const bool *isnull,
				 uint16 *flags)
{
	Size		size = 0;
	uint16		found = 0;

	for (int i = 0; i < layout->natts; i++)
	{
		const struct RowColumn *column = &layout->columns[i];
		Size		n;

		if (isnull[i])
		{
			found |= ROW_NULLS;
			continue;
		}
		if (column->len > 0)
		{
			if (column->align > 1)
			{
				size = round_up(size, column->align);
				found |= ROW_ALIGNED;
			}
			n = column->len;
		}
		else if (column->len == -1)
		{
			if (varlena_form(column, values[i], &n) >= VARLENA_FLATTEN)
			{
				size = round_up(size, column->align);
				found |= ROW_ALIGNED;
			}
			else if (VARATT_IS_EXTERNAL(DatumGetPointer(values[i])))
				found |= ROW_EXTERNAL;
		}
		else
			n = strlen(DatumGetCString(values[i])) + 1;
		size += n;
	}
	*flags = found;
	return size + ((found & ROW_NULLS) ? row_nulls_size(layout->natts) : 0);
}

static inline char *
pad_to(char *p, const char *start, int align)
{
	while (((p - start) & (align - 1)) != 0)
		*p++ = 0;
	return p;
}

static inline char *
store_byval(char *p, Datum value, int len)
{
	switch (len)
	{
		case 1:
			*p = DatumGetChar(value);
			break;
		case 2:
			{
				int16		v = DatumGetInt16(value);

				memcpy(p, &v, sizeof(v));
				break;
			}
		case 4:
			{
				int32		v = DatumGetInt32(value);

				memcpy(p, &v, sizeof(v));
				break;
			}
		default:
			Assert(len == sizeof(Datum));
			memcpy(p, &value, sizeof(Datum));
			break;
	}
	return p + len;
}

static char *
store_varlena(const struct RowColumn *column, Datum value, char *p, const char *start,
			  uint16 *flags)
{
	Size		size;
	VarlenaForm form = varlena_form(column, value, &size);

	if (form >= VARLENA_FLATTEN)
	{
		p = pad_to(p, start, column->align);
		*flags |= ROW_ALIGNED;
	}
	switch (form)
	{
		case VARLENA_MAKE_SHORT:
			SET_VARSIZE_SHORT(p, size);
			memcpy(p + VARHDRSZ_SHORT, VARDATA(DatumGetPointer(value)), size - VARHDRSZ_SHORT);
			break;
		case VARLENA_FLATTEN:
			EOH_flatten_into(DatumGetEOHP(value), p, size);
			break;
		case VARLENA_AS_IS_UNALIGNED:
			if (VARATT_IS_EXTERNAL(DatumGetPointer(value)))
			{
				/* a pointer into memory must not reach the disk: toast_row resolves it */
				if (!VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(value)))
					elog(ERROR, "cannot store an indirect value");
				*flags |= ROW_EXTERNAL;
			}
			/* FALLTHROUGH */
		case VARLENA_AS_IS_ALIGNED:
			memcpy(p, DatumGetPointer(value), size);
			break;
	}
	return p + size;
}

static bits8 *
store_bitmap(const bool *isnull, int natts, char *dest)
{
	bits8	   *nulls = (bits8 *) dest;

	memset(nulls, 0, row_nulls_size(natts));
	for (int i = 0; i < natts; i++)
	{
		if (!isnull[i])
			nulls[i >> 3] |= 1 << (i & 7);
	}
	return nulls;
}

void
row_encode(const RowLayout *layout, const Datum *values, const bool *isnull,
		   char *dest, RowData *row)
{
	int			natts = layout->natts;
	char	   *start = dest + MAXALIGN(row_nulls_size(natts));
	char	   *p = start;
	uint16		flags = 0;

	Assert(((uintptr_t) dest & 7) == 0);
	row->nulls = NULL;
	if (natts > 0 && memchr(isnull, true, natts) != NULL)
	{
		row->nulls = store_bitmap(isnull, natts, dest);
		flags |= ROW_NULLS;
	}

	for (int i = 0; i < natts; i++)
	{
		const struct RowColumn *column = &layout->columns[i];

		if (isnull[i])
			continue;
		if (column->byval)
			p = store_byval(p, values[i], column->len);
		else if (column->len == -1)
			p = store_varlena(column, values[i], p, start, &flags);
		else if (column->len > 0)
		{
			if (column->align > 1)
			{
				p = pad_to(p, start, column->align);
				flags |= ROW_ALIGNED;
			}
			memcpy(p, DatumGetPointer(values[i]), column->len);
			p += column->len;
		}
		else
		{
			Size		n = strlen(DatumGetCString(values[i])) + 1;

			memcpy(p, DatumGetCString(values[i]), n);
			p += n;
		}
	}

	Assert(p - start <= PG_UINT16_MAX);
	row->natts = natts;
	row->flags = flags;
	row->size = (uint16) (p - start);
	row->data = start;
}

/* ---- decoding ---- */

/* A by-value column whose bytes lie within the data. */
static inline Datum
load_byval(const char *p, int len)
{
	switch (len)
	{
		case 1:
			return CharGetDatum(*p);
		case 2:
			{
				int16		v;

				memcpy(&v, p, sizeof(v));
				return Int16GetDatum(v);
			}
		case 4:
			{
				int32		v;

				memcpy(&v, p, sizeof(v));
				return Int32GetDatum(v);
			}
		default:
			{
				Datum		v;

				memcpy(&v, p, sizeof(v));
				return v;
			}
	}
}

/*
 * The same without a branch on the length, for columns that have at least
 * eight bytes of data from their start on: load eight, keep the first ones,
 * extend the sign as the DatumGet macros' counterparts do.
 */
static inline Datum
load_byval_wide(const char *p, uint8 shift)
{
	uint64		v;

	memcpy(&v, p, sizeof(v));
#ifndef WORDS_BIGENDIAN
	v <<= shift;
#endif
#if CHAR_MIN == 0
	if (shift == 56)			/* CharGetDatum of an unsigned char */
		return (Datum) (v >> 56);
#endif
	return (Datum) ((int64) v >> shift);
}

/*
 * Columns [from, to) of a row without NULLs, all within the first nfixed.
 */
static inline bool
decode_constant(const RowLayout *layout, const RowData *row, int from, int to,
				uint32 *offset, Datum *values, bool *isnull)
{
	const struct RowColumn *columns = layout->columns;
	const char *data = row->data;
	uint32		end = columns[to - 1].offset + columns[to - 1].len;
	int			wide = to;

	if (end > row->size)
		return false;
	if (layout->has_aligned_fixed && (row->flags & ROW_ALIGNED) == 0)
	{
		for (int i = from; i < to; i++)
		{
			if (columns[i].align > 1)
				return false;
		}
	}

	while (wide > from && (uint32) columns[wide - 1].offset + 8 > row->size)
		wide--;
	for (int i = from; i < wide; i++)
	{
		const char *p = data + columns[i].offset;

		isnull[i] = false;
		values[i] = columns[i].byval ? load_byval_wide(p, columns[i].shift) : PointerGetDatum(p);
	}
	for (int i = wide; i < to; i++)
	{
		const char *p = data + columns[i].offset;

		isnull[i] = false;
		values[i] = columns[i].byval ? load_byval(p, columns[i].len) : PointerGetDatum(p);
	}
	*offset = end;
	return true;
}

/*
 * Size of the varlena at *offset, which moves to its start; 0 if the bytes make
 * no sense.
 */
static inline uint32
varlena_size(const RowData *row, uint32 *offset, uint8 align)
{
	const char *p = row->data + *offset;
	uint32		start;
	uint32		size;

	if (*offset >= row->size)
		return 0;
	if (VARATT_IS_1B(p) && !VARATT_IS_1B_E(p))
		size = VARSIZE_1B(p);
	else if (VARATT_IS_1B_E(p))
	{
		/* other tags are pointers into some process's memory */
		if (*offset + VARHDRSZ_EXTERNAL > row->size || VARTAG_1B_E(p) != VARTAG_ONDISK)
			return 0;
		size = TOAST_POINTER_SIZE;
	}
	else
	{
		start = round_up(*offset, align);
		if ((row->flags & ROW_ALIGNED) == 0 || start + VARHDRSZ > row->size)
			return 0;
		p = row->data + start;
		if (VARATT_IS_1B(p))
			return 0;
		size = VARSIZE_4B(p);
		if (size < (VARATT_IS_4B_C(p) ? VARHDRSZ_COMPRESSED : VARHDRSZ))
			return 0;
		*offset = start;
	}
	return size <= row->size - *offset ? size : 0;
}

/*
 * Any columns.  Inlined twice, so that rows without NULLs do not look for
 * them.
 */
static pg_attribute_always_inline bool
decode_any(const RowLayout *layout, const RowData *row, int from, int to,
		   uint32 *offset, Datum *values, bool *isnull, bool has_nulls)
{
	uint32		off = *offset;

	for (int i = from; i < to; i++)
	{
		const struct RowColumn *column = &layout->columns[i];
		uint32		size;

		if (has_nulls && (row->nulls[i >> 3] & (1 << (i & 7))) == 0)
		{
			values[i] = (Datum) 0;
			isnull[i] = true;
			continue;
		}
		isnull[i] = false;
		if (column->len == -1)
		{
			size = varlena_size(row, &off, column->align);
			if (size == 0)
				return false;
			values[i] = PointerGetDatum(row->data + off);
		}
		else if (column->byval)
		{
			size = column->len;
			if (off + size > row->size)
				return false;
			values[i] = load_byval(row->data + off, size);
		}
		else if (column->len > 0)
		{
			if (column->align > 1)
			{
				if ((row->flags & ROW_ALIGNED) == 0)
					return false;
				off = round_up(off, column->align);
			}
			size = column->len;
			if (off + size > row->size)
				return false;
			values[i] = PointerGetDatum(row->data + off);
		}
		else
		{
			const char *end;

			if (off >= row->size)
				return false;
			end = memchr(row->data + off, 0, row->size - off);
			if (end == NULL)
				return false;
			size = end + 1 - (row->data + off);
			values[i] = PointerGetDatum(row->data + off);
		}
		off += size;
	}
	*offset = off;
	return true;
}

static pg_attribute_always_inline bool
decode_with(const RowLayout *layout, const RowData *row, int from, int to,
			uint32 *offset, Datum *values, bool *isnull)
{
	if (row->nulls != NULL)
		return decode_any(layout, row, from, to, offset, values, isnull, true);
	if (from < layout->nfixed && from < to)
	{
		int			n = Min(to, layout->nfixed);

		if (!decode_constant(layout, row, from, n, offset, values, isnull))
			return false;
		from = n;
	}
	return decode_any(layout, row, from, to, offset, values, isnull, false);
}

typedef enum LayoutFit
{
	FIT_NOT,
	FIT_END,					/* the row's data ends where the layout says */
	FIT_ENCODED					/* and the same values are encoded so today */
} LayoutFit;

static LayoutFit
layout_fit(const RowLayout *layout, const RowData *row)
{
	Datum		values[MaxHeapAttributeNumber];
	bool		isnull[MaxHeapAttributeNumber];
	uint32		offset = 0;
	uint16		flags;
	Size		size;

	memset(isnull, true, sizeof(isnull));
	if (!decode_with(layout, row, 0, Min(layout->natts, row->natts), &offset, values, isnull) ||
		offset != row->size)
		return FIT_NOT;
	size = row_encoded_size(layout, values, isnull, &flags);
	if (flags & ROW_NULLS)
		size -= row_nulls_size(layout->natts);
	return size == row->size && (flags & ROW_ALIGNED) != 0 ? FIT_ENCODED : FIT_END;
}

/*
 * Which of two layouts the row was made by.  It says in its flags whether anything is aligned.
 */
static const RowLayout *
layout_of_row(const RowLayout *layout, const RowData *row)
{
	if ((row->flags & ROW_ALIGNED) != 0 &&
		layout_fit(layout->by_catalog, row) > layout_fit(layout, row))
		return layout->by_catalog;
	return layout;
}

bool
row_decode(const RowLayout *layout, const RowData *row, int from, int to,
		   uint32 *offset, Datum *values, bool *isnull)
{
	Assert(to <= layout->natts);
	Assert((row->flags & ROW_ALIGNED) == 0 || ((uintptr_t) row->data & 7) == 0);

	if (unlikely(layout->by_catalog != NULL))
		layout = layout_of_row(layout, row);
	return decode_with(layout, row, from, Min(to, row->natts), offset, values, isnull);
}
