/* SPDX-License-Identifier: Apache-2.0 */
#include "subscription.h"

#include <stddef.h>

#include "../base/check.h"

enum {
#define X(upper, bits) upper = (bits),
    GW_SUB_STATES(X)
#undef X
};

struct row {
    uint8_t state;
    struct {
        uint8_t state;
        bool goes_on;
    } after[GW_SUB_KIND_COUNT]; /* subscribe, subscribed, unsubscribe, unsubscribed */
};

/* RFC 6121 section A.2: 1 where it MUST be routed, 0 where it MUST NOT. */
static const struct row outbound[] = {
    /*               subscribe         subscribed      unsubscribe     unsubscribed */
    {NONE,        {{NONE_OUT, 1},    {NONE, 0},        {NONE, 1},    {NONE, 0}}},
    {NONE_OUT,    {{NONE_OUT, 1},    {NONE_OUT, 0},    {NONE, 1},    {NONE_OUT, 0}}},
    {NONE_IN,     {{NONE_OUT_IN, 1}, {FROM_, 1},       {NONE_IN, 1}, {NONE, 1}}},
    {NONE_OUT_IN, {{NONE_OUT_IN, 1}, {FROM_OUT, 1},    {NONE_IN, 1}, {NONE_OUT, 1}}},
    {TO_,         {{TO_, 1},         {TO_, 0},         {NONE, 1},    {TO_, 0}}},
    {TO_IN,       {{TO_IN, 1},       {BOTH, 1},        {NONE_IN, 1}, {TO_, 1}}},
    {FROM_,       {{FROM_OUT, 1},    {FROM_, 0},       {FROM_, 1},   {NONE, 1}}},
    {FROM_OUT,    {{FROM_OUT, 1},    {FROM_OUT, 0},    {FROM_, 1},   {NONE_OUT, 1}}},
    {BOTH,        {{BOTH, 1},        {BOTH, 0},        {FROM_, 1},   {TO_, 1}}},
};

/* RFC 6121 section A.3: 1 where it MUST be delivered, 0 where it MUST NOT. */
static const struct row inbound[] = {
    /*               subscribe         subscribed      unsubscribe      unsubscribed */
    {NONE,        {{NONE_IN, 1},     {NONE, 0},        {NONE, 0},     {NONE, 0}}},
    {NONE_OUT,    {{NONE_OUT_IN, 1}, {TO_, 1},         {NONE_OUT, 0}, {NONE, 1}}},
    {NONE_IN,     {{NONE_IN, 0},     {NONE_IN, 0},     {NONE, 1},     {NONE_IN, 0}}},
    {NONE_OUT_IN, {{NONE_OUT_IN, 0}, {TO_IN, 1},       {NONE_OUT, 1}, {NONE_IN, 1}}},
    {TO_,         {{TO_IN, 1},       {TO_, 0},         {TO_, 0},      {NONE, 1}}},
    {TO_IN,       {{TO_IN, 0},       {TO_IN, 0},       {TO_, 1},      {NONE_IN, 1}}},
    {FROM_,       {{FROM_, 0},       {FROM_, 0},       {NONE, 1},     {FROM_, 0}}},
    {FROM_OUT,    {{FROM_OUT, 0},    {BOTH, 1},        {NONE_OUT, 1}, {FROM_, 1}}},
    {BOTH,        {{BOTH, 0},        {BOTH, 0},        {TO_, 1},      {FROM_, 1}}},
};

#define ROWS (sizeof(outbound) / sizeof(outbound[0]))
_Static_assert(sizeof(inbound) == sizeof(outbound), "the same states");

static const struct row *row_of(const struct row *table, uint8_t state)
{
    for (size_t i = 0; i < ROWS; i++)
        if (table[i].state == state)
            return &table[i];
    return NULL;
}

static struct gw_sub_step step(const struct row *table, uint8_t state, enum gw_sub_kind k)
{
    const struct row *r = row_of(table, state);
    check(r != NULL && k < GW_SUB_KIND_COUNT);
    return (struct gw_sub_step){.state = r->after[k].state, .goes_on = r->after[k].goes_on};
}

struct gw_sub_step gw_sub_outbound(uint8_t state, enum gw_sub_kind k)
{
    return step(outbound, state, k);
}

struct gw_sub_step gw_sub_inbound(uint8_t state, enum gw_sub_kind k)
{
    struct gw_sub_step s = step(inbound, state, k);
    s.auto_reply = k == GW_SUB_SUBSCRIBE && (state & GW_SUB_FROM) != 0; /* section 3.1.3 */
    return s;
}

bool gw_sub_is_state(uint8_t bits)
{
    return row_of(outbound, bits) != NULL;
}

const char *gw_sub_name(uint8_t state)
{
    static const char *const names[] = {"none", "to", "from", "both"};
    return names[state & (GW_SUB_TO | GW_SUB_FROM)];
}

const char *gw_sub_kind_name(enum gw_sub_kind k)
{
    static const char *const names[] = {
#define X(upper, name) name,
        GW_SUB_KINDS(X)
#undef X
    };
    return names[k];
}
