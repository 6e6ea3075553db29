/* SPDX-License-Identifier: Apache-2.0 */
/* Finding the end of a unit that arrives in pieces, in a few bytes of state. */
#include "xml.h"
#include "xml_scan.h"

enum state {
    TEXT,     /* outside tags */
    LT,       /* behind '<' */
    START,    /* in a start tag */
    START_END,/* behind '/' in a start tag */
    QUOTE_1,  /* in an attribute value in single quotes */
    QUOTE_2,
    END,      /* in an end tag */
    BANG,     /* behind "<!" and what follows it up to the second '[' */
    CDATA,
    DECL,     /* in the XML declaration */
};

/* What the byte c does. True when the unit ends here or is certainly wrong. */
static bool step(struct gw_xml_frame *f, uint8_t c, bool in_stream)
{
    switch ((enum state)f->state) {
    case TEXT:
        if (c == '<')
            f->state = LT;
        else if (f->depth == 0 && c != ' ' && c != '\n' && c != '\r' && c != '\t')
            return true;
        return false;
    case LT:
        f->state = c == '/' ? END : c == '!' ? BANG : c == '?' ? DECL : START;
        f->run = 0;
        return c == '>' || c == '<' || (c == '?' && in_stream) || (c == '!' && f->depth == 0);
    case START:
        if (c == '/')
            f->state = START_END;
        else if (c == '\'')
            f->state = QUOTE_1;
        else if (c == '"')
            f->state = QUOTE_2;
        else if (c == '>') {
            f->state = TEXT;
            f->depth++;
            return !in_stream || f->depth > GW_XML_DEPTH_MAX;
        }
        return c == '<';
    case START_END:
        f->state = TEXT;
        return f->depth == 0 || c != '>';
    case QUOTE_1:
    case QUOTE_2:
        if (c == (f->state == QUOTE_1 ? '\'' : '"'))
            f->state = START;
        return c == '<';
    case END:
        if (c != '>')
            return c == '<';
        f->state = TEXT;
        if (f->depth == 0)
            return true;
        return --f->depth == 0;
    case BANG:
        if (c != (uint8_t)"[CDATA["[f->run])
            return true;
        if (++f->run == 7) {
            f->state = CDATA;
            f->run = 0;
        }
        return false;
    case CDATA:
        if (c == ']') {
            f->run = f->run < 2 ? (uint8_t)(f->run + 1) : 2;
        } else {
            if (c == '>' && f->run == 2)
                f->state = TEXT;
            f->run = 0;
        }
        return false;
    case DECL:
        if (c == '>')
            f->state = TEXT;
        return false;
    }
    return true;
}

/* The first byte from p on that step() has to see; it would pass over those before it. */
static const uint8_t *skip_idle(const struct gw_xml_frame *f, const struct gw_xml_input *in,
                                const uint8_t *p)
{
    const __m128i lt = _mm_setr_epi8('<', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m128i tag = _mm_setr_epi8('/', '\'', '"', '>', '<', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m128i value_1 = _mm_setr_epi8('\'', '<', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m128i value_2 = _mm_setr_epi8('"', '<', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m128i end = _mm_setr_epi8('>', '<', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    switch ((enum state)f->state) {
    case TEXT:
        return f->depth > 0 ? gw_xml_find_any(in, p, lt, 1) : p;
    case START:
        return gw_xml_find_any(in, p, tag, 5);
    case QUOTE_1:
        return gw_xml_find_any(in, p, value_1, 2);
    case QUOTE_2:
        return gw_xml_find_any(in, p, value_2, 2);
    case END:
        return gw_xml_find_any(in, p, end, 2);
    case LT:
    case START_END:
    case BANG:
    case CDATA:
    case DECL:
        break;
    }
    return p;
}

size_t gw_xml_frame_feed(struct gw_xml_frame *f, const uint8_t *p, size_t len, bool in_stream,
                         bool *whole)
{
    const struct gw_xml_input in = {p, p + len};
    const uint8_t *at = p;
    *whole = false;
    while (!*whole && at < in.end && (at = skip_idle(f, &in, at)) < in.end)
        *whole = step(f, *at++, in_stream);
    return (size_t)(at - p);
}
