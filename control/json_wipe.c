/* SPDX-License-Identifier: Apache-2.0 */
#include "json_wipe.h"

#include <jansson.h>
#include <openssl/crypto.h>
#include <stddef.h>
#include <stdlib.h>

/* The size stands before what the library gets; the union keeps that aligned. */
union block {
    size_t bytes;
    max_align_t align;
};

static void *block_alloc(size_t bytes)
{
    union block *b = malloc(sizeof(*b) + bytes);
    if (b == NULL)
        return NULL;
    b->bytes = bytes;
    return b + 1;
}

void json_wipe_free(void *p)
{
    if (p == NULL)
        return;
    union block *b = (union block *)p - 1;
    OPENSSL_cleanse(b, sizeof(*b) + b->bytes);
    free(b);
}

void json_wipe_on_free(void)
{
    json_set_alloc_funcs(block_alloc, json_wipe_free);
}
