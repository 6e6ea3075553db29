/* SPDX-License-Identifier: Apache-2.0 */
#include "reader.h"

#include <errno.h>
#include <expat.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../dataplane/base/check.h"
#include "buffer.h"
#include "quick.h"

#define CHUNK_BYTES      4096
#define STANZA_BYTES_MAX (4u << 20)
#define DEPTH_MAX        64
#define SEPARATOR        '|'

/* Memory of the stanza that is being read. Goes to a list shared by all readers at its end, so
 * that an idle connection holds none. */
struct chunk {
    struct chunk *next;
    size_t used, capacity;
    alignas(max_align_t) char bytes[];
};

/* An element that is still open. */
struct open_element {
    struct element *element;
    struct element *last_child;
    struct buffer text;
};

struct reader {
    XML_Parser parser;
    const struct reader_events *events;
    void *ctx;
    struct chunk *chunks;
    size_t stanza_bytes;
    int depth; /* of open elements, the stream's header is the first */
    struct open_element open[DEPTH_MAX];
    uint32_t expat_every; /* stanzas; of the others only what quick.c does not know */
    uint32_t stanzas;
    uint64_t fed,
        stanza_end;      /* bytes of this stream: given to expat; up to its last whole stanza */
    struct buffer begun; /* a stanza that is not whole, not given to expat */
    const char *error;
    bool restart;
};

static struct chunk *spare_chunks;

static struct chunk *chunk_new(size_t bytes)
{
    struct chunk *c = spare_chunks;
    if (bytes <= CHUNK_BYTES && c) {
        spare_chunks = c->next;
    } else {
        size_t capacity = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;
        c = malloc(sizeof(*c) + capacity);
        check(c != NULL);
        c->capacity = capacity;
    }
    c->used = 0;
    return c;
}

static void *take(struct reader *r, size_t bytes)
{
    bytes = (bytes + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    if (!r->chunks || r->chunks->capacity - r->chunks->used < bytes) {
        struct chunk *c = chunk_new(bytes);
        c->next = r->chunks;
        r->chunks = c;
    }
    void *taken = r->chunks->bytes + r->chunks->used;
    r->chunks->used += bytes;
    r->stanza_bytes += bytes;
    return taken;
}

static const char *take_text(struct reader *r, const char *text, size_t len)
{
    char *copy = take(r, len + 1);
    memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

static void release_chunks(struct reader *r)
{
    while (r->chunks) {
        struct chunk *c = r->chunks;
        r->chunks = c->next;
        if (c->capacity > CHUNK_BYTES) {
            free(c);
            continue;
        }
        c->next = spare_chunks;
        spare_chunks = c;
    }
    r->stanza_bytes = 0;
}

static void fail(struct reader *r, const char *why)
{
    if (!r->error)
        r->error = why;
    XML_StopParser(r->parser, XML_FALSE);
}

static struct element *build(struct reader *r, const char *name, const char **attributes)
{
    struct element *e = take(r, sizeof(*e));
    const char *cut = strrchr(name, SEPARATOR);
    *e = (struct element){
        .space = cut ? take_text(r, name, (size_t)(cut - name)) : "",
        .name = cut ? take_text(r, cut + 1, strlen(cut + 1)) : take_text(r, name, strlen(name)),
        .text = "",
    };
    while (attributes[2 * e->attribute_count])
        e->attribute_count++;
    struct attribute *list = take(r, e->attribute_count * sizeof(*list));
    for (unsigned i = 0; i < e->attribute_count; i++) {
        const char *value = attributes[2 * i + 1];
        list[i].name = take_text(r, attributes[2 * i], strlen(attributes[2 * i]));
        list[i].value = take_text(r, value, strlen(value));
    }
    e->attributes = list;
    return e;
}

static void note_end(struct reader *r)
{
    r->stanza_end =
        (uint64_t)XML_GetCurrentByteIndex(r->parser) + (uint64_t)XML_GetCurrentByteCount(r->parser);
}

static void on_start(void *ctx, const char *name, const char **attributes)
{
    struct reader *r = ctx;
    if (r->depth == DEPTH_MAX || r->stanza_bytes > STANZA_BYTES_MAX) {
        fail(r, r->depth == DEPTH_MAX ? "elements nested too deeply" : "stanza too big");
        return;
    }
    struct element *e = build(r, name, attributes);
    if (r->depth > 1) {
        struct open_element *parent = &r->open[r->depth - 1];
        if (parent->last_child)
            parent->last_child->next = e;
        else
            parent->element->first_child = e;
        parent->last_child = e;
    }
    r->open[r->depth].element = e;
    r->open[r->depth].last_child = NULL;
    buffer_reset(&r->open[r->depth].text);
    r->depth++;
    if (r->depth == 1) {
        note_end(r);
        r->events->stream(r->ctx, e);
        release_chunks(r);
    }
}

static void on_text(void *ctx, const char *text, int len)
{
    struct reader *r = ctx;
    if (r->depth < 2)
        return; /* white space between stanzas */
    r->stanza_bytes += (size_t)len;
    if (r->stanza_bytes > STANZA_BYTES_MAX) {
        fail(r, "stanza too big");
        return;
    }
    buffer_append(&r->open[r->depth - 1].text, text, (size_t)len);
}

static void on_end(void *ctx, const char *name)
{
    struct reader *r = ctx;
    (void)name; /* expat has matched it with the start */
    if (r->error)
        return;
    struct open_element *o = &r->open[--r->depth];
    if (r->depth == 0) {
        r->events->stream_end(r->ctx);
        return;
    }
    if (buffer_len(&o->text) > 0)
        o->element->text = take_text(r, buffer_head(&o->text), buffer_len(&o->text));
    if (r->depth > 1)
        return;
    note_end(r);
    r->events->stanza(r->ctx, o->element);
    release_chunks(r);
    if (r->restart)
        XML_StopParser(r->parser, XML_FALSE);
}

static void set_handlers(struct reader *r)
{
    XML_SetUserData(r->parser, r);
    XML_SetElementHandler(r->parser, on_start, on_end);
    XML_SetCharacterDataHandler(r->parser, on_text);
#ifdef HAVE_REPARSE_DEFERRAL
    /* A stanza is to be seen when it is whole, not when more bytes come behind it. */
    XML_SetReparseDeferralEnabled(r->parser, XML_FALSE);
#endif
}

struct reader *reader_new(const struct reader_events *events, void *ctx, uint32_t expat_every)
{
    struct reader *r = calloc(1, sizeof(*r));
    check(r != NULL);
    r->events = events;
    r->ctx = ctx;
    r->expat_every = expat_every;
    r->parser = XML_ParserCreateNS("UTF-8", SEPARATOR);
    check(r->parser != NULL);
    set_handlers(r);
    return r;
}

static void restart(struct reader *r)
{
    r->restart = false;
    XML_ParserReset(r->parser, "UTF-8");
    set_handlers(r);
    r->depth = 0;
    r->fed = r->stanza_end = 0;
}

static int feed(struct reader *r, const void *bytes, size_t len)
{
    r->fed += len;
    enum XML_Status status = XML_Parse(r->parser, bytes, (int)len, 0);
    if (r->restart) {
        restart(r);
        return 0;
    }
    if (status == XML_STATUS_OK)
        return 0;
    if (!r->error)
        r->error = XML_ErrorString(XML_GetErrorCode(r->parser));
    return -EBADMSG;
}

/* Whether expat has nothing begun. */
static bool between_stanzas(const struct reader *r)
{
    return r->depth == 1 && r->stanza_end == r->fed;
}

/* What expat has no part in stays in `begun` until it is whole. */
static int keep(struct reader *r, const char *bytes, size_t len)
{
    if (len > STANZA_BYTES_MAX) {
        r->error = "stanza too big";
        return -EBADMSG;
    }
    buffer_append(&r->begun, bytes, len);
    return 0;
}

/* Whether the next stanza is one for expat. */
static bool is_expats_turn(const struct reader *r)
{
    return (r->stanzas + 1) % r->expat_every == 0;
}

/* The stanza at the start of bytes, by its form alone. 1, 0 or -1 as quick_chat. */
static int read_chat(struct reader *r, const char *bytes, size_t len, size_t *used)
{
    struct quick_chat chat;
    if (r->events->chat == NULL || is_expats_turn(r))
        return -1;
    int found = quick_chat(bytes, len, &chat, used);
    if (found == 1) {
        r->stanzas++;
        r->events->chat(r->ctx, &chat);
    }
    return found;
}

/* Any stanza: text is the same bytes, to be spoiled. 1, 0 or -1 as quick_parse, or -EBADMSG. */
static int read_any(struct reader *r, char *text, const char *bytes, size_t len, size_t *used)
{
    struct element *stanza;
    int found = quick_parse(text, len, &stanza, used);
    if (found != 1)
        return found;
    if (++r->stanzas % r->expat_every == 0)
        return feed(r, bytes, *used) == 0 ? 1 : -EBADMSG;
    if (stanza)
        r->events->stanza(r->ctx, stanza);
    return 1;
}

static int read_some(struct reader *r, const char *bytes, size_t len)
{
    static struct buffer scratch; /* quick_parse writes into what it reads */
    size_t at = 0, used, copied_at = SIZE_MAX;
    if (r->expat_every <= 1)
        return feed(r, bytes, len);
    for (; at < len && between_stanzas(r); at += used) {
        int found = read_chat(r, bytes + at, len - at, &used);
        if (found < 0) {
            if (copied_at == SIZE_MAX) {
                copied_at = at;
                buffer_reset(&scratch);
                buffer_append(&scratch, bytes + at, len - at);
                buffer_cstr(&scratch);
            }
            found = read_any(r, scratch.data + (at - copied_at), bytes + at, len - at, &used);
        }
        if (found == 0)
            return keep(r, bytes + at, len - at);
        if (found == -EBADMSG)
            return found;
        if (found < 0)
            break;
        if (r->restart) {
            restart(r);
            return 0;
        }
    }
    return at < len ? feed(r, bytes + at, len - at) : 0;
}

/* Memory of stanzas in pieces: one buffer goes round, so that no idle reader keeps one. */
static void let_go_of(struct buffer *b, struct buffer *spare)
{
    buffer_reset(b);
    if (spare->capacity == 0) {
        *spare = *b;
        *b = (struct buffer){0};
    }
    buffer_free(b);
}

int reader_input(struct reader *r, const void *bytes, size_t len)
{
    static struct buffer spare;
    if (r->error)
        return -EBADMSG;
    if (buffer_len(&r->begun) == 0)
        return read_some(r, bytes, len);
    struct buffer whole = r->begun;
    r->begun = spare;
    spare = (struct buffer){0};
    buffer_append(&whole, bytes, len);
    int err = read_some(r, buffer_head(&whole), buffer_len(&whole));
    let_go_of(&whole, &spare);
    if (buffer_len(&r->begun) == 0)
        let_go_of(&r->begun, &spare);
    return err;
}

void reader_restart(struct reader *r)
{
    r->restart = true;
}

const char *reader_error(const struct reader *r)
{
    return r->error ? r->error : "";
}

void reader_free(struct reader **reader)
{
    struct reader *r = *reader;
    if (!r)
        return;
    release_chunks(r);
    for (int i = 0; i < DEPTH_MAX; i++)
        buffer_free(&r->open[i].text);
    buffer_free(&r->begun);
    XML_ParserFree(r->parser);
    free(r);
    *reader = NULL;
}

const char *element_attribute(const struct element *e, const char *name)
{
    for (unsigned i = 0; i < e->attribute_count; i++)
        if (strcmp(e->attributes[i].name, name) == 0)
            return e->attributes[i].value;
    return NULL;
}

bool element_is(const struct element *e, const char *space, const char *name)
{
    return strcmp(e->name, name) == 0 && (!space || strcmp(e->space, space) == 0);
}

const struct element *element_child(const struct element *e, const char *space, const char *name)
{
    for (const struct element *c = e->first_child; c; c = c->next)
        if (element_is(c, space, name))
            return c;
    return NULL;
}
