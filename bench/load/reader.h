/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An XMPP stream as a row of stanzas (RFC 6120, section 4): bytes in, whole elements out. expat
 * judges whether the server's XML is well-formed, which makes this reader a second opinion on it.
 *
 * That costs more than all else a client does. With `expat_every` more than 1 only each such stanza
 * goes to expat; the others are read by quick.c, which knows what servers write and leaves anything
 * else to expat.
 */
#ifndef LOAD_READER_H
#define LOAD_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct attribute {
    const char *name; /* "id", or "namespace|local" when it has a prefix */
    const char *value;
};

/* An element; alive while the callback runs that got it. */
struct element {
    const char *space; /* namespace, "" without one */
    const char *name;
    const struct attribute *attributes;
    unsigned attribute_count;
    const char *text; /* all character data directly in it */
    const struct element *first_child, *next;
};

struct reader;
struct quick_chat; /* quick.h */

struct reader_events {
    void (*stream)(void *ctx, const struct element *header);
    void (*stanza)(void *ctx, const struct element *stanza);
    void (*stream_end)(void *ctx);
    /* In place of `stanza`, for messages that quick.c knows by their form. May be NULL. */
    void (*chat)(void *ctx, const struct quick_chat *chat);
};

struct reader *reader_new(const struct reader_events *events, void *ctx, uint32_t expat_every);
/* 0, or -EBADMSG: the stream is not well-formed or a single stanza is over 4 MiB. */
int reader_input(struct reader *r, const void *bytes, size_t len);
/* The next byte begins a new stream. May be called by a callback. */
void reader_restart(struct reader *r);
/* What was wrong, after reader_input failed. */
const char *reader_error(const struct reader *r);
void reader_free(struct reader **r);

/* Attribute by name, or NULL. */
const char *element_attribute(const struct element *e, const char *name);
/* The first child of that name and namespace (NULL: any), or NULL. */
const struct element *element_child(const struct element *e, const char *space, const char *name);
bool element_is(const struct element *e, const char *space, const char *name);

#endif
