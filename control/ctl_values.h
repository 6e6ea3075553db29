/* SPDX-License-Identifier: Apache-2.0 */
/* Members of an answer; 0, "" or false when they are absent. */
#ifndef GW_CONTROL_CTL_VALUES_H
#define GW_CONTROL_CTL_VALUES_H

#include <jansson.h>
#include <stdbool.h>

static inline json_int_t number(const json_t *o, const char *name)
{
    return json_integer_value(json_object_get(o, name));
}

static inline const char *text(const json_t *o, const char *name)
{
    const char *s = json_string_value(json_object_get(o, name));
    return s != NULL ? s : "";
}

static inline bool flag(const json_t *o, const char *name)
{
    return json_is_true(json_object_get(o, name));
}

#endif
