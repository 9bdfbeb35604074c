/*
 * svg.h
 *	  What the pictures of pages and of trees share: colours, text, the frame around them.
 *
 * A picture stands for itself: it has its own ground, a light and a dark one as the reader's system
 * wants it, names nothing elsewhere, and has no script.  What the mouse points to is told by
 * <title>.
 */
#ifndef ROWAN_INSPECT_SVG_H
#define ROWAN_INSPECT_SVG_H

#include "lib/stringinfo.h"

/*
 * What is drawn: symbol, class, colour on light ground, on dark ground, what the legend says.
 */
#define SVG_PAINTS(PAINT) \
	PAINT(HEADER, "hd", "#8a94a6", "#6b7688", "header, trailer") \
	PAINT(SLOTS, "sl", "#e3a72f", "#c9922b", "slots") \
	PAINT(GAP, "gp", "#e9edf1", "#232931", "free gap") \
	PAINT(DEAD, "de", "#bfc5cd", "#4d5561", "dead bytes, padding") \
	PAINT(SLACK, "sk", "#b7d4f1", "#2b4a69", "slack of rows") \
	PAINT(ROW, "rw", "#4a8fd8", "#3f80c9", "rows as old as the page") \
	PAINT(OWN, "ow", "#25a08f", "#239080", "rows with a creator of their own") \
	PAINT(OLDER, "ol", "#7d68cc", "#8674d4", "rows with older versions") \
	PAINT(DELETED, "dl", "#d76a63", "#c65a54", "deleted rows, stubs") \
	PAINT(RECORD, "rc", "#d98846", "#c77a3c", "version records, pages") \
	PAINT(CHILD, "ch", "#57a65b", "#4c9651", "children, inner pages") \
	PAINT(FENCE, "fe", "#a0719f", "#a97fae", "fences") \
	PAINT(ENTRY, "en", "#4a8fd8", "#3f80c9", "index entries") \
	PAINT(LEAF, "lf", "#4a8fd8", "#3f80c9", "leaves") \
	PAINT(FREE, "fr", "#a9d18e", "#5f7f4b", "free pages") \
	PAINT(UNUSED, "un", "#efe3c4", "#3d3725", "not in use so far") \
	PAINT(UNMET, "um", "#bfc5cd", "#4d5561", "changed meanwhile") \
	PAINT(BAD, "bd", "#e5007d", "#ff4fa8", "makes no sense")

#define SVG_PAINT_NUMBER(symbol, class, light, dark, legend) SVG_##symbol,

typedef enum SvgPaint
{
	SVG_PAINTS(SVG_PAINT_NUMBER)
	SVG_PAINT_COUNT
} SvgPaint;

typedef struct Svg
{
	StringInfoData text;
	bool		used[SVG_PAINT_COUNT];	/* for the legend */
} Svg;

/* Frame and style; the title is any text, the description is said to who cannot see. */
extern void svg_begin(Svg *svg, const char *title, const char *description);
extern void svg_print(Svg *svg, const char *format,...) pg_attribute_printf(2, 3);

/* Any bytes, as text of an element or of an attribute. */
extern void svg_escaped(Svg *svg, const char *text);

/* A line of text; class: see svg.c. */
extern void svg_label(Svg *svg, double x, double y, const char *class, const char *text);

/* Takes note that the paint is used; its class. */
extern const char *svg_class(Svg *svg, SvgPaint paint);

/* What the paints mean that were used; returns its height. */
extern double svg_legend(Svg *svg, double x, double y, double width);

/* The whole, as a value of type text. */
extern Datum svg_end(Svg *svg, double width, double height);

/* Schema and name of a relation, not quoted. */
extern char *svg_relation_name(Oid schema, const char *name);

#endif							/* ROWAN_INSPECT_SVG_H */
