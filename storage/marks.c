/* SPDX-License-Identifier: Apache-2.0 */
#include "marks.h"

#include <stddef.h>

/* The slot of this mark, else a free one, else the one with least. */
static const struct gw_mark *slot_of(const struct gw_marks *m, uint16_t mark)
{
    const struct gw_mark *least = &m->most[0];
    for (unsigned i = 0; i < GW_MARKS_MAX; i++) {
        if (m->most[i].mark == mark || m->most[i].mark == 0)
            return &m->most[i];
        if (m->most[i].cost < least->cost)
            least = &m->most[i];
    }
    return least;
}

void gw_marks_add(struct gw_marks *m, uint16_t mark, uint64_t cost)
{
    if (mark == 0)
        return;
    struct gw_mark *s = &m->most[slot_of(m, mark) - m->most];
    s->mark = mark;
    s->cost += cost; /* whose it was before may have been this sender's */
}

uint64_t gw_marks_of(const struct gw_marks *m, uint16_t mark)
{
    return slot_of(m, mark)->cost;
}

void gw_marks_set(struct gw_marks *m, uint16_t mark, uint64_t cost)
{
    struct gw_mark *s = &m->most[slot_of(m, mark) - m->most];
    if (s->mark == mark)
        s->cost = cost;
}
