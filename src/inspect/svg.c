/*
 * svg.c
 *	  What the pictures of pages and of trees share.
 *
 * Classes of text: t, title; n, name of a fact; v, its value; s, small; w, on paint; p, problem.
 */
#include "postgres.h"

#include "inspect/svg.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#define LEGEND_LINE		20
#define LEGEND_CHAR		6.4		/* width of one, about */
#define LEGEND_BOX		12

static const struct
{
	const char *class;
	const char *light;
	const char *dark;
	const char *legend;
}			paints[] = {
#define SVG_PAINT_ENTRY(symbol, class, light, dark, legend) {class, light, dark, legend},
	SVG_PAINTS(SVG_PAINT_ENTRY)
};

static const char style_light[] =
"svg{font-family:system-ui,\"Segoe UI\",\"DejaVu Sans\",sans-serif;"
"font-variant-numeric:tabular-nums}"
".bg{fill:#fcfcfa;stroke:#d5d9de}.ln{stroke:#d5d9de;fill:none}"
"text{fill:#1d2530;font-size:12px}.t{font-size:19px;font-weight:600}"
".n,.s{fill:#5d6773}.s{font-size:10.5px}.w{fill:#fff;font-size:7.5px;pointer-events:none}"
".p{fill:#c0006a;font-weight:600}.e{text-anchor:end}"
".i{stroke:#fcfcfa;stroke-width:.8}.o{opacity:.84}"
".i:hover,.g:hover .i{stroke:#1d2530;stroke-width:1.6;opacity:1}";

static const char style_dark[] =
".bg{fill:#15191f;stroke:#39414c}.ln{stroke:#39414c}text{fill:#e5e9ef}"
".n,.s{fill:#9aa5b3}.w{fill:#fff}.p{fill:#ff7ab8}"
".i{stroke:#15191f}.i:hover,.g:hover .i{stroke:#fff}";

void
svg_print(Svg *svg, const char *format,...)
{
	for (;;)
	{
		va_list		args;
		int			needed;

		va_start(args, format);
		needed = appendStringInfoVA(&svg->text, format, args);
		va_end(args);
		if (needed == 0)
			return;
		enlargeStringInfo(&svg->text, needed);
	}
}

/* Characters that XML has no way to say. */
static bool
is_unspeakable(const char *p, int length)
{
	if (length == 1)
		return (unsigned char) *p < ' ' && *p != '\n' && *p != '\t';
	return GetDatabaseEncoding() == PG_UTF8 && length == 3 && memcmp(p, "\xEF\xBF", 2) == 0 &&
		((unsigned char) p[2] == 0xBE || (unsigned char) p[2] == 0xBF);
}

void
svg_escaped(Svg *svg, const char *text)
{
	for (const char *p = text; *p != '\0';)
	{
		int			length = pg_mblen(p);

		if (is_unspeakable(p, length))
			appendStringInfoChar(&svg->text, '?');
		else if (*p == '&')
			appendStringInfoString(&svg->text, "&amp;");
		else if (*p == '<')
			appendStringInfoString(&svg->text, "&lt;");
		else if (*p == '>')
			appendStringInfoString(&svg->text, "&gt;");
		else if (*p == '"')
			appendStringInfoString(&svg->text, "&quot;");
		else
			appendBinaryStringInfo(&svg->text, p, length);
		p += length;
	}
}

void
svg_label(Svg *svg, double x, double y, const char *class, const char *text)
{
	svg_print(svg, "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\">", x, y, class);
	svg_escaped(svg, text);
	svg_print(svg, "</text>\n");
}

const char *
svg_class(Svg *svg, SvgPaint paint)
{
	svg->used[paint] = true;
	return paints[paint].class;
}

/* Height and width are known at the end: svg_end puts the element before this. */
void
svg_begin(Svg *svg, const char *title, const char *description)
{
	memset(svg->used, 0, sizeof(svg->used));
	initStringInfo(&svg->text);
	svg_print(svg, "<title>");
	svg_escaped(svg, title);
	svg_print(svg, "</title>\n<desc>");
	svg_escaped(svg, description);
	svg_print(svg, "</desc>\n");
}

double
svg_legend(Svg *svg, double x, double y, double width)
{
	double		at = x,
				line = y;

	svg_print(svg, "<g>\n");
	for (int i = 0; i < SVG_PAINT_COUNT; i++)
	{
		double		needed = LEGEND_BOX + 24 + LEGEND_CHAR * strlen(paints[i].legend);

		if (!svg->used[i])
			continue;
		if (at > x && at + needed > x + width)
		{
			at = x;
			line += LEGEND_LINE;
		}
		svg_print(svg, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%d\" height=\"%d\" rx=\"2\" "
				  "class=\"%s\"/>", at, line, LEGEND_BOX, LEGEND_BOX, paints[i].class);
		svg_label(svg, at + LEGEND_BOX + 6, line + LEGEND_BOX - 2, "n", paints[i].legend);
		at += needed;
	}
	svg_print(svg, "</g>\n");
	return line + LEGEND_LINE - y;
}

static void
append_style(StringInfo text)
{
	appendStringInfo(text, "<style>%s", style_light);
	for (int i = 0; i < SVG_PAINT_COUNT; i++)
		appendStringInfo(text, ".%s{fill:%s}", paints[i].class, paints[i].light);
	appendStringInfo(text, "\n@media (prefers-color-scheme:dark){%s", style_dark);
	for (int i = 0; i < SVG_PAINT_COUNT; i++)
		appendStringInfo(text, ".%s{fill:%s}", paints[i].class, paints[i].dark);
	appendStringInfoString(text, "}</style>\n");
}

Datum
svg_end(Svg *svg, double width, double height)
{
	StringInfoData whole;

	initStringInfo(&whole);
	appendStringInfo(&whole, "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" "
					 "viewBox=\"0 0 %.0f %.0f\" width=\"%.0f\" height=\"%.0f\">\n",
					 width, height, width, height);
	append_style(&whole);
	appendStringInfo(&whole, "<rect class=\"bg\" x=\".5\" y=\".5\" width=\"%.0f\" height=\"%.0f\" "
					 "rx=\"10\"/>\n", width - 1, height - 1);
	appendBinaryStringInfo(&whole, svg->text.data, svg->text.len);
	appendStringInfoString(&whole, "</svg>\n");
	pfree(svg->text.data);
	return PointerGetDatum(cstring_to_text_with_len(whole.data, whole.len));
}

char *
svg_relation_name(Oid schema, const char *name)
{
	char	   *schema_name = get_namespace_name(schema);

	return schema_name == NULL ? pstrdup(name) : psprintf("%s.%s", schema_name, name);
}
