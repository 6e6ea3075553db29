/* SPDX-License-Identifier: Apache-2.0 */
#include "personal.h"

#include <errno.h>

#include "../../storage/account.h"
#include "../base/check.h"
#include "../base/text.h"

#define FIRST_BYTES    4096u /* most records are smaller */
#define RECORD_VERSION 1

/* On disk, sealed; the body follows. */
struct record {
    uint8_t version;
    uint8_t reserved[7];
    struct gw_identity identity;
};
_Static_assert(sizeof(struct record) == 40, "on disk");

enum step { READ_ACCOUNT, READ, WRITE };

/* One under way, in a block of its own. */
struct request {
    const struct gw_personal_kind *kind;
    struct gw_ref conn;
    uint32_t seq;
    uint8_t step, tries;
    bool set, other; /* other: of somebody else's account */
    gw_block value;
    uint64_t version;
    struct gw_identity identity;
    uint16_t jid_len, id_len, to_len;
    uint32_t payload_len;
    char text[]; /* bare JID, then the IQ's id and `to` (unescaped), then the payload */
};

static struct request *request_at(const struct gw_lcore *l, gw_block b)
{
    return gw_arena_ptr(l->arena, b);
}

static struct gw_bytes jid_of(const struct request *r)
{
    return gw_bytes(r->text, r->jid_len);
}

static struct gw_bytes payload_of(const struct request *r)
{
    return gw_bytes(r->text + r->jid_len + r->id_len + r->to_len, r->payload_len);
}

/* ---- elements ---- */

static bool declares(const struct gw_xml *x, gw_xml_node n, struct gw_bytes prefix)
{
    for (unsigned i = 0; i < x->nodes[n].attr_count; i++) {
        const struct gw_xml_attr *a = &x->attrs[x->nodes[n].attr_first + i];
        if (gw_bytes_eq(a->prefix, GW_LIT("xmlns")) && gw_bytes_eq(a->name, prefix))
            return true;
    }
    return false;
}

/* The prefixes of `from` that nothing on the way to n binds anew. */
static void put_outer(const struct gw_xml *x, gw_xml_node n, gw_xml_node from, struct gw_text *t)
{
    for (unsigned i = 0; i < x->nodes[from].attr_count; i++) {
        const struct gw_xml_attr *a = &x->attrs[x->nodes[from].attr_first + i];
        bool bound = !gw_bytes_eq(a->prefix, GW_LIT("xmlns"));
        for (gw_xml_node m = n; !bound && m != from; m = x->nodes[m].parent)
            bound = declares(x, m, a->name);
        if (!bound)
            gw_text_raw_attr(t, a);
    }
}

void gw_personal_put_element(const struct gw_lcore *l, gw_xml_node n, struct gw_text *t)
{
    const struct gw_xml *x = l->xml;
    const struct gw_xml_elem *e = &x->nodes[n];
    size_t name = 1 + e->name.len + (e->prefix.len ? e->prefix.len + 1 : 0);
    gw_text_put(t, gw_bytes(e->raw.p, name));
    for (gw_xml_node m = n; m != 0; m = x->nodes[m].parent)
        put_outer(x, n, x->nodes[m].parent, t);
    gw_text_put(t, gw_bytes(e->raw.p + name, e->raw.len - name));
}

/* ---- the end ---- */

static void write_answer(struct gw_lcore *l, gw_conn c, const struct request *r,
                         enum gw_condition why, struct gw_bytes child)
{
    struct gw_text t = gw_text(l->scratch, GW_SCRATCH_BYTES);
    gw_text_str(&t, why == GW_CONDITION_NONE ? "<iq type='result'" : "<iq type='error'");
    gw_text_attr(&t, " id='", gw_bytes(r->text + r->jid_len, r->id_len));
    gw_text_attr(&t, " from='", gw_bytes(r->text + r->jid_len + r->id_len, r->to_len));
    gw_text_attr(&t, " to='", gw_edge_full(l, c));
    gw_text_str(&t, ">");
    if (why != GW_CONDITION_NONE) {
        GW_COUNT(l->edge_count.refused);
        gw_edge_put_error(&t, why);
    }
    gw_text_put(&t, child);
    gw_text_str(&t, "</iq>");
    check(!t.full);
    gw_edge_answer_after(l, c, r->seq - 1,
                         why == GW_CONDITION_NONE ? GW_ANSWER_STANZA : GW_ANSWER_REFUSAL,
                         gw_text_bytes(&t));
}

/* Answered and settled. Of a connection that is gone the answer is lost: the request comes again. */
static void end(struct gw_lcore *l, gw_block b, enum gw_condition why, struct gw_bytes child)
{
    struct request *r = request_at(l, b);
    gw_conn c = r->conn.index;
    if (gw_edge_conn(l, c)->generation == r->conn.generation) {
        write_answer(l, c, r, why, child);
        gw_edge_settle(l, c, r->seq);
        gw_edge_resume(l, c, GW_PAUSE_STORE);
    } else {
        gw_edge_drain_settle(l, r->conn, r->seq, true);
    }
    gw_arena_put(l->arena, r->value);
    gw_arena_put(l->arena, b);
}

static void refuse(struct gw_lcore *l, gw_block b, enum gw_condition why)
{
    end(l, b, why, gw_bytes(NULL, 0));
}

/* ---- steps ---- */

/* Room for a value of that size. False: no memory. */
static bool make_room(struct gw_lcore *l, struct request *r, size_t bytes)
{
    if (r->value != 0 && gw_arena_block_bytes(l->arena, r->value) >= bytes)
        return true;
    gw_arena_put(l->arena, r->value);
    r->value = gw_arena_get(l->arena, bytes);
    return r->value != 0;
}

/* Read the account's record, or this one's; the answer goes to gw_personal_store_done. */
static void submit(struct gw_lcore *l, gw_block b, enum step step, uint32_t data_len)
{
    struct request *r = request_at(l, b);
    size_t cap = gw_arena_block_bytes(l->arena, r->value);
    struct gw_store_request rq = {
        .op = step == WRITE ? GW_STORE_CAS : GW_STORE_GET,
        .ns = (uint8_t)(step == READ_ACCOUNT ? GW_NS_ACCOUNT : r->kind->ns),
        .key = r->text,
        .key_len = r->jid_len,
        .data = gw_arena_ptr(l->arena, r->value),
        .data_len = step == WRITE ? data_len : (uint32_t)cap,
        .from = step == WRITE ? r->version : 0,
        .tag = GW_TAG_EDGE | GW_TAG_PERSONAL | b,
    };
    r->step = (uint8_t)step;
    if (gw_store_submit(l->store, &rq) != 0)
        refuse(l, b, GW_CONDITION_RESOURCE_CONSTRAINT);
}

/* What the record holds, opened in place: empty when it is another account's. Negative: damaged. */
static int open_record(struct gw_lcore *l, struct request *r, size_t len, struct gw_bytes *body)
{
    struct gw_bytes plain;
    struct record head;
    *body = gw_bytes(NULL, 0);
    if (gw_small_open(l->keys, l->sealer, (uint8_t)r->kind->ns, jid_of(r),
                      gw_arena_ptr(l->arena, r->value), len, &plain) != 0 ||
        plain.len < sizeof(head))
        return -EBADMSG;
    memcpy(&head, plain.p, sizeof(head));
    if (head.version != RECORD_VERSION)
        return -EBADMSG;
    if (memcmp(&head.identity, &r->identity, sizeof(head.identity)) == 0)
        *body = gw_bytes(plain.p + sizeof(head), plain.len - sizeof(head));
    return 0;
}

static void write_record(struct gw_lcore *l, gw_block b, struct gw_bytes old)
{
    struct request *r = request_at(l, b);
    struct record head = {.version = RECORD_VERSION, .identity = r->identity};
    struct gw_text t = gw_text(l->scratch, sizeof(head) + GW_PERSONAL_BYTES_MAX);
    gw_text_put(&t, gw_bytes(&head, sizeof(head)));
    enum gw_condition why = r->kind->change(old, payload_of(r), &t);
    if (why == GW_CONDITION_NONE && t.full)
        why = GW_CONDITION_POLICY_VIOLATION;
    if (why == GW_CONDITION_NONE && !make_room(l, r, t.len + GW_SMALL_OVERHEAD_BYTES))
        why = GW_CONDITION_RESOURCE_CONSTRAINT;
    if (why != GW_CONDITION_NONE) {
        refuse(l, b, why);
        return;
    }
    gw_small_seal(l->keys, l->sealer, (uint8_t)r->kind->ns, jid_of(r), gw_text_bytes(&t),
                  gw_arena_ptr(l->arena, r->value));
    submit(l, b, WRITE, (uint32_t)(t.len + GW_SMALL_OVERHEAD_BYTES));
}

static void show(struct gw_lcore *l, gw_block b, struct gw_bytes body)
{
    struct request *r = request_at(l, b);
    gw_block child = gw_arena_get(l->arena, GW_PERSONAL_BYTES_MAX + 4096);
    if (child == 0) {
        refuse(l, b, GW_CONDITION_RESOURCE_CONSTRAINT);
        return;
    }
    struct gw_text t = gw_text(gw_arena_ptr(l->arena, child), GW_PERSONAL_BYTES_MAX + 4096);
    enum gw_condition why = r->kind->show(body, payload_of(r), &t);
    if (why != GW_CONDITION_NONE && r->other) /* as of an account that there is not */
        why = GW_CONDITION_SERVICE_UNAVAILABLE;
    check(!t.full);
    end(l, b, why, why == GW_CONDITION_NONE ? gw_text_bytes(&t) : gw_bytes(NULL, 0));
    gw_arena_put(l->arena, child);
}

static void have_read(struct gw_lcore *l, gw_block b, const struct gw_store_completion *done)
{
    struct request *r = request_at(l, b);
    struct gw_bytes body = gw_bytes(NULL, 0);
    if (done->status == -EMSGSIZE && done->len <= sizeof(struct record) + GW_PERSONAL_BYTES_MAX +
                                                      GW_SMALL_OVERHEAD_BYTES) {
        if (make_room(l, r, done->len))
            submit(l, b, READ, 0);
        else
            refuse(l, b, GW_CONDITION_RESOURCE_CONSTRAINT);
        return;
    }
    r->version = done->status == 0 ? done->seq : 0;
    if (done->status == 0 && open_record(l, r, done->len, &body) != 0) {
        GW_COUNT(l->edge_count.personal_damaged);
        refuse(l, b, GW_CONDITION_INTERNAL_SERVER_ERROR);
    } else if (done->status != 0 && done->status != -ENOENT) {
        refuse(l, b, GW_CONDITION_INTERNAL_SERVER_ERROR);
    } else if (r->set) {
        write_record(l, b, body);
    } else {
        show(l, b, body);
    }
}

static void have_written(struct gw_lcore *l, gw_block b, const struct gw_store_completion *done)
{
    struct request *r = request_at(l, b);
    if (done->status == 0) {
        GW_COUNT(l->edge_count.personal_writes);
        end(l, b, GW_CONDITION_NONE, gw_bytes(NULL, 0));
    } else if ((done->status == -ESTALE || done->status == -EEXIST) &&
               ++r->tries < GW_PERSONAL_TRIES_MAX) {
        submit(l, b, READ, 0);
    } else {
        refuse(l, b, done->status == -EIO ? GW_CONDITION_INTERNAL_SERVER_ERROR
                                          : GW_CONDITION_RESOURCE_CONSTRAINT);
    }
}

/* Somebody else's: there must be such an account, and the record be its. */
static void have_account(struct gw_lcore *l, gw_block b, const struct gw_store_completion *done)
{
    struct request *r = request_at(l, b);
    struct gw_account a;
    struct gw_bytes plain;
    if (done->status != 0 ||
        gw_small_open(l->keys, l->sealer, GW_NS_ACCOUNT, jid_of(r),
                      gw_arena_ptr(l->arena, r->value), done->len, &plain) != 0 ||
        gw_account_unpack(plain.p, plain.len, &a) != 0) {
        refuse(l, b, GW_CONDITION_SERVICE_UNAVAILABLE);
        return;
    }
    gw_hash(l->hasher, GW_HASH_SHA_256, gw_bytes(a.identity_key, sizeof(a.identity_key)),
            r->identity.hash);
    explicit_bzero(&a, sizeof(a));
    explicit_bzero(gw_arena_ptr(l->arena, r->value), done->len);
    submit(l, b, READ, 0);
}

void gw_personal_store_done(struct gw_lcore *l, const struct gw_store_completion *done)
{
    gw_block b = (gw_block)done->tag;
    switch ((enum step)request_at(l, b)->step) {
    case READ_ACCOUNT:
        have_account(l, b, done);
        break;
    case READ:
        have_read(l, b, done);
        break;
    case WRITE:
        have_written(l, b, done);
        break;
    }
}

/* ---- begun ---- */

static gw_block make(struct gw_lcore *l, gw_conn c, const struct gw_iq *q, struct gw_bytes payload)
{
    char id[GW_STANZA_ID_BYTES_MAX], to[GW_JID_BYTES_MAX];
    struct gw_bytes jid = gw_jid_bare(q->to);
    int id_len = gw_xml_attr_text(l->xml, 0, GW_LIT("id"), id, sizeof(id));
    int to_len = gw_xml_attr_text(l->xml, 0, GW_LIT("to"), to, sizeof(to));
    struct request r = {.conn = gw_edge_ref(l, c), .seq = gw_edge_conn(l, c)->seq,
                        .set = q->type == GW_TYPE_SET, .other = (q->whom & GW_IQ_OTHER) != 0,
                        .jid_len = (uint16_t)jid.len,
                        .id_len = (uint16_t)(id_len > 0 ? id_len : 0),
                        .to_len = (uint16_t)(to_len > 0 ? to_len : 0),
                        .payload_len = (uint32_t)payload.len};
    size_t text_len = (size_t)r.jid_len + r.id_len + r.to_len + payload.len;
    const struct gw_edge_jid *own = gw_arena_ptr(l->arena, gw_edge_conn(l, c)->jid_block);
    memcpy(r.identity.hash, own->identity, sizeof(own->identity));
    gw_block b = gw_arena_get(l->arena, sizeof(r) + text_len);
    if (b == 0)
        return 0;
    *request_at(l, b) = r;
    struct gw_text t = gw_text(request_at(l, b)->text, text_len);
    gw_text_put(&t, jid);
    gw_text_put(&t, gw_bytes(id, r.id_len));
    gw_text_put(&t, gw_bytes(to, r.to_len));
    gw_text_put(&t, payload);
    check(!t.full);
    if (!make_room(l, request_at(l, b), FIRST_BYTES)) {
        gw_arena_put(l->arena, b);
        return 0;
    }
    return b;
}

enum gw_handled gw_personal_begin(struct gw_lcore *l, gw_conn c, const struct gw_iq *q,
                                  const struct gw_personal_kind *kind, struct gw_bytes payload)
{
    if (q->type == GW_TYPE_SET && !gw_store_accepts(l->store))
        return gw_edge_settle_here(l, c, GW_CONDITION_RESOURCE_CONSTRAINT);
    if (payload.len > GW_PERSONAL_BYTES_MAX)
        return gw_edge_settle_here(l, c, GW_CONDITION_POLICY_VIOLATION);
    if (!gw_edge_number(l, c))
        return GW_HANDLE_LATER;
    gw_block b = make(l, c, q, payload);
    if (b == 0) {
        gw_edge_refuse(l, c, GW_CONDITION_RESOURCE_CONSTRAINT);
        gw_edge_settle(l, c, gw_edge_conn(l, c)->seq);
        return GW_HANDLED;
    }
    struct request *r = request_at(l, b);
    r->kind = kind;
    gw_edge_pause(l, c, GW_PAUSE_STORE);
    submit(l, b, r->other ? READ_ACCOUNT : READ, 0);
    return GW_HANDLED;
}
