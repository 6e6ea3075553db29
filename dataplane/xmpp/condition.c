/* SPDX-License-Identifier: Apache-2.0 */
#include "condition.h"

const char *gw_condition_name(enum gw_condition c)
{
    switch (c) {
#define X(upper, name, type)                                                                       \
    case GW_CONDITION_##upper:                                                                     \
        return name;
        GW_CONDITIONS(X)
#undef X
    case GW_CONDITION_NONE:
        break;
    }
    return "undefined-condition";
}

const char *gw_condition_type(enum gw_condition c)
{
    switch (c) {
#define X(upper, name, type)                                                                       \
    case GW_CONDITION_##upper:                                                                     \
        return type;
        GW_CONDITIONS(X)
#undef X
    case GW_CONDITION_NONE:
        break;
    }
    return "cancel";
}

const char *gw_stream_error_name(enum gw_stream_error e)
{
    switch (e) {
#define X(upper, name)                                                                             \
    case GW_STREAM_##upper:                                                                        \
        return name;
        GW_STREAM_ERRORS(X)
#undef X
    case GW_STREAM_ERROR_NONE:
        break;
    }
    return "undefined-condition";
}
