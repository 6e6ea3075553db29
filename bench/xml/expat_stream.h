/* SPDX-License-Identifier: Apache-2.0 */
/* expat as a reader of an XMPP stream, for what holds our parser against it. */
#ifndef GW_BENCH_EXPAT_STREAM_H
#define GW_BENCH_EXPAT_STREAM_H

#include <expat.h>

#include "../../dataplane/base/check.h"

/* Between a namespace and a name. */
#define EXPAT_SEPARATOR '\x01'
#define STREAM_HEADER                                                                              \
    "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"

/* To be freed by XML_ParserFree. */
static inline XML_Parser expat_stream_new(void *ctx, XML_StartElementHandler on_start,
                                          XML_EndElementHandler on_end,
                                          XML_CharacterDataHandler on_text)
{
    XML_Parser parser = XML_ParserCreateNS("UTF-8", EXPAT_SEPARATOR);
    check(parser != NULL);
    XML_SetUserData(parser, ctx);
    XML_SetElementHandler(parser, on_start, on_end);
    XML_SetCharacterDataHandler(parser, on_text);
#ifdef HAVE_REPARSE_DEFERRAL
    XML_SetReparseDeferralEnabled(parser, XML_FALSE);
#endif
    return parser;
}

#endif
