/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stanzas as servers write them, read in place in one go: elements, attributes, text and the five
 * entities. It believes that they are well-formed, which somebody else has to look at; prefixes,
 * comments, CDATA and whatever else XML has are not for it.
 */
#ifndef LOAD_QUICK_H
#define LOAD_QUICK_H

#include <stddef.h>

#include "../../dataplane/base/bytes.h"
#include "reader.h"

/* The stanza at the start of text, which has a NUL at text[len] and is spoiled whatever comes of it.
 * 1 with the stanza (NULL: white space between stanzas) and the bytes that it was; 0: not whole; -1:
 * for a real parser. The stanza is alive until text is gone or the next call. */
int quick_parse(char *text, size_t len, struct element **stanza, size_t *used);

/* A chat message of the form that nearly all have. Nothing in it has to be unescaped. */
struct quick_chat {
    struct gw_bytes from, body, stanza_id; /* of the text */
};

/* The same for such a message, which is told by its bytes alone: one body, a stanza-id (XEP-0359) and
 * perhaps a delay (XEP-0203), as godwitd writes them. The text is left alone. -1: anything else. */
int quick_chat(const char *text, size_t len, struct quick_chat *chat, size_t *used);

#endif
