/* SPDX-License-Identifier: Apache-2.0 */
/* Every setting there is, once: what reads, checks, prints and documents the configuration. */
#ifndef GW_CONTROL_CONFIG_TABLE_H
#define GW_CONTROL_CONFIG_TABLE_H

#include <stddef.h>

#include "config.h"
#include "config_net.h"

enum setting_type {
    SETTING_NUMBER,
    SETTING_BOOL,
    SETTING_CHOICE,  /* one of `choices`, kept as its index */
    SETTING_STRING,  /* with `choices`: one of them, kept as text */
    SETTING_PATH,    /* absolute */
    SETTING_NUMBERS, /* an array */
    SETTING_STRINGS, /* a list */
    SETTING_FORMED,  /* a list of strings, each read by `form` */
};

struct setting {
    const char *group, *name;
    const char *help;
    const char *preset_text; /* the default as one would write it; for a required one an example */
    const char *const *choices;
    const struct setting_form *form;
    int64_t min, max; /* of numbers and of the elements of arrays; of strings the bytes */
    enum setting_type type;
    bool required;
    uint8_t width; /* bytes of a number, or of an array's element */
    uint16_t count_max;
    size_t offset, count_offset; /* in struct gw_config */
};

extern const struct setting config_settings[];
extern const unsigned config_setting_count;

/* By name, in one group or (group NULL) in any; NULL when there is none. */
const struct setting *setting_find(const char *group, const char *name);

/* Where a setting's value lives. */
static inline void *setting_field(const struct setting *s, const struct gw_config *c)
{
    return (char *)(uintptr_t)c + s->offset;
}

static inline unsigned *setting_count(const struct setting *s, const struct gw_config *c)
{
    return (unsigned *)(void *)((char *)(uintptr_t)c + s->count_offset);
}

int64_t setting_get_number(const void *field, uint8_t width);
void setting_set_number(void *field, uint8_t width, int64_t value);

/* "a number from 1 to 64", "poll or adaptive", "true or false"... */
void setting_describe_accepted(const struct setting *s, char *out, size_t cap);

#endif
