/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stanzas as servers write them, read in place in one go: elements, attributes, text and the five
 * entities. It believes that they are well-formed, which somebody else has to look at; prefixes,
 * comments, CDATA and whatever else XML has are not for it.
 */
#ifndef LOAD_QUICK_H
#define LOAD_QUICK_H

#include <stddef.h>

#include "reader.h"

/* The stanza at the start of text, which has a NUL at text[len] and is spoiled whatever comes of it.
 * 1 with the stanza (NULL: white space between stanzas) and the bytes that it was; 0: not whole; -1:
 * for a real parser. The stanza is alive until text is gone or the next call. */
int quick_parse(char *text, size_t len, struct element **stanza, size_t *used);

#endif
