/* SPDX-License-Identifier: Apache-2.0 */
#include "post.h"

#include "../base/check.h"

/* Per ordered pair: requests up, their SETTLED and RETURN, requests down, their TAKEN. */
#define RING_SLOTS (5 * GW_CREDITS)

int gw_mesh_open(struct gw_mesh *meshes, unsigned count)
{
    check(count <= GW_LCORES_MAX);
    for (unsigned a = 0; a < count; a++)
        for (unsigned b = 0; b < count; b++) {
            struct gw_ring *r;
            int err = gw_ring_open(&r, "post", sizeof(struct gw_post), RING_SLOTS);
            if (err)
                return err;
            meshes[a].out[b] = r;
            meshes[b].in[a] = r;
        }
    return 0;
}

void gw_mesh_free(struct gw_mesh *meshes, unsigned count)
{
    for (unsigned a = 0; a < count; a++)
        for (unsigned b = 0; b < count; b++)
            gw_ring_free(&meshes[a].out[b]);
}

static void push(struct gw_lcore *l, unsigned to, struct gw_post *p)
{
    p->from = (uint8_t)l->index;
    /* Credits bound what can be under way: a full ring is a broken promise of ours. */
    check(gw_ring_push(l->mesh->out[to], p));
}

void gw_post_up(struct gw_lcore *l, unsigned home, struct gw_post *p)
{
    check(l->mesh->up_used[home] < GW_CREDITS);
    l->mesh->up_used[home]++;
    push(l, home, p);
}

void gw_post_down(struct gw_lcore *l, unsigned edge, struct gw_post *p)
{
    check(l->mesh->down_used[edge] < GW_CREDITS);
    l->mesh->down_used[edge]++;
    push(l, edge, p);
}

void gw_post_answer(struct gw_lcore *l, unsigned to, struct gw_post *p)
{
    push(l, to, p);
}

static void settle_credit(struct gw_mesh *m, unsigned from, uint8_t op)
{
    switch ((enum gw_post_op)op) {
    case GW_POST_BOUND:
    case GW_POST_ENABLED:
    case GW_POST_COUNTED:
    case GW_POST_RESUMED:
    case GW_POST_RETURN:
    case GW_POST_DONE:
        check(m->up_used[from] > 0);
        m->up_used[from]--;
        break;
    case GW_POST_TAKEN:
        check(m->down_used[from] > 0);
        m->down_used[from]--;
        break;
    default:
        break;
    }
}

unsigned gw_post_take(struct gw_lcore *l, unsigned from, struct gw_post *out, unsigned max)
{
    unsigned n = gw_ring_pop(l->mesh->in[from], out, max);
    for (unsigned i = 0; i < n; i++)
        settle_credit(l->mesh, from, out[i].op);
    return n;
}
