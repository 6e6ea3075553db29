/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SASL (RFC 6120 section 6): SCRAM on the lcore (a few hashes), PLAIN by the worker's derivation.
 *
 * An unknown user takes the same steps, with a salt that looks like a real one and stays the same,
 * and fails where a wrong password fails.
 */
#include "personal.h"
#include "sasl.h"

#include <errno.h>

#include "../base/check.h"
#include "../base/text.h"
#include "deriver.h"
#include "edge.h"

#define FAILURES_MAX     3
#define FAKE_SALT_BYTES  16
#define NONCE_BYTES      18 /* 24 characters of base64 */
#define ACCOUNT_BYTES_MAX (GW_ACCOUNT_PACKED_BYTES_MAX + GW_SMALL_OVERHEAD_BYTES)
#define SIGNATURE_TEXT_BYTES 64

enum step { IDLE, READING_ACCOUNT, WAITING_FOR_PROOF, DERIVING };

/* The state of one exchange: an arena block, named by store tags and jobs, so that it outlives its
 * connection while one of them is under way. */
struct exchange {
    struct gw_ref conn;
    uint8_t step;
    bool plain;
    bool known;
    enum gw_scram_hash hash;
    struct gw_jid_text jid; /* bare */
    uint32_t first_bare_len, server_first_len, gs2_len, nonce_off, nonce_len;
    char client_first[2048]; /* gs2 header and client-first-message-bare */
    char server_first[1024];
    struct gw_scram_keys keys;
    uint8_t identity[32];
    struct gw_derive_job job; /* PLAIN */
    uint8_t account[ACCOUNT_BYTES_MAX];
};

static struct exchange *exchange_at(struct gw_lcore *l, gw_block b)
{
    return gw_arena_ptr(l->arena, b);
}

static bool is_lent(const struct exchange *x)
{
    return x->step == READING_ACCOUNT || x->step == DERIVING;
}

static void free_exchange(struct gw_lcore *l, gw_block b)
{
    explicit_bzero(exchange_at(l, b), sizeof(struct exchange));
    gw_arena_put(l->arena, b);
}

void gw_edge_sasl_free(struct gw_lcore *l, gw_conn c)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    gw_block b = e->sasl_block;
    e->sasl_block = 0;
    if (b != 0 && !is_lent(exchange_at(l, b))) /* else it is freed when it comes back */
        free_exchange(l, b);
}

/* ---- answers ---- */

static void fail(struct gw_lcore *l, gw_conn c, enum gw_sasl_failure why)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    char buf[160];
    struct gw_text t = gw_text(buf, sizeof(buf));
    gw_edge_sasl_free(l, c);
    GW_COUNT(l->edge_count.auth_failed);
    gw_text_str(&t, "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><");
    gw_text_str(&t, gw_sasl_failure_name(why));
    gw_text_str(&t, "/></failure>");
    gw_edge_write(l, c, gw_text_bytes(&t));
    if (++e->auth_failures == FAILURES_MAX)
        gw_edge_stream_error(l, c, GW_STREAM_POLICY_VIOLATION, "too many authentication failures");
}

static void send_base64(struct gw_lcore *l, gw_conn c, const char *name, struct gw_bytes payload)
{
    char buf[2048];
    struct gw_text t = gw_text(buf, sizeof(buf));
    gw_text_str(&t, "<");
    gw_text_str(&t, name);
    gw_text_str(&t, " xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>");
    check(t.cap - t.len > payload.len / 3 * 4 + 64);
    t.len += gw_base64_encode(payload, t.p + t.len);
    gw_text_str(&t, "</");
    gw_text_str(&t, name);
    gw_text_str(&t, ">");
    gw_edge_write(l, c, gw_text_bytes(&t));
}

/* The stream starts anew (RFC 6120 section 6.4.6), now with a name. */
static void succeed(struct gw_lcore *l, gw_conn c, struct gw_bytes payload)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    struct exchange *x = exchange_at(l, e->sasl_block);
    struct gw_bytes bare = gw_jid_bare(&x->jid);
    gw_block b = gw_arena_get(l->arena, sizeof(struct gw_edge_jid) + bare.len);
    if (b == 0) {
        fail(l, c, GW_SASL_TEMPORARY_AUTH_FAILURE);
        return;
    }
    struct gw_edge_jid *j = gw_arena_ptr(l->arena, b);
    memcpy(j->identity, x->identity, sizeof(j->identity));
    j->bare_len = j->len = (uint16_t)bare.len;
    j->lang_len = 0;
    memcpy(j->text, bare.p, bare.len);
    e->jid_block = b;
    e->authenticated = true;
    e->header_seen = e->header_sent = false;
    e->state = GW_EDGE_HEADER;
    GW_COUNT(l->edge_count.auth_ok);
    if (payload.len)
        send_base64(l, c, "success", payload);
    else
        gw_edge_write(l, c, GW_LIT("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"));
    gw_edge_sasl_free(l, c);
}

/* ---- the account ---- */

static enum gw_sasl_failure set_user(struct gw_lcore *l, gw_conn c, struct exchange *x,
                                     struct gw_bytes name, struct gw_bytes authzid)
{
    char bare[GW_JID_BYTES_MAX];
    struct gw_text t = gw_text(bare, sizeof(bare));
    gw_text_put(&t, name);
    gw_text_put(&t, GW_LIT("@"));
    gw_text_put(&t, gw_edge_domain(l, c));
    struct gw_jid_text user;
    if (t.full || memchr(name.p, '@', name.len) != NULL || memchr(name.p, '/', name.len) != NULL ||
        gw_jid_prep(gw_text_bytes(&t), &x->jid) != 0)
        return GW_SASL_NOT_AUTHORIZED;
    if (authzid.len != 0 && (gw_jid_prep(authzid, &user) != 0 ||
                             !gw_bytes_eq(gw_jid_full(&user), gw_jid_bare(&x->jid))))
        return GW_SASL_INVALID_AUTHZID;
    return GW_SASL_OK;
}

static enum gw_sasl_failure read_account(struct gw_lcore *l, gw_conn c, struct exchange *x)
{
    struct gw_bytes key = gw_jid_bare(&x->jid);
    struct gw_store_request rq = {
        .op = GW_STORE_GET,
        .ns = GW_NS_ACCOUNT,
        .key = key.p,
        .key_len = (uint16_t)key.len,
        .data = x->account,
        .data_len = sizeof(x->account),
        .tag = GW_TAG_EDGE | gw_edge_conn(l, c)->sasl_block,
    };
    if (gw_store_submit(l->store, &rq) != 0)
        return GW_SASL_TEMPORARY_AUTH_FAILURE;
    x->step = READING_ACCOUNT;
    gw_edge_pause(l, c, GW_PAUSE_STORE);
    return GW_SASL_OK;
}

/* Keys of nobody: no password opens them. */
static void fake_keys(struct gw_lcore *l, struct exchange *x)
{
    struct gw_bytes bare = gw_jid_bare(&x->jid);
    struct gw_sipkey key = l->cfg->salt_key;
    x->keys.iterations = l->cfg->scram_iterations;
    x->keys.salt_len = FAKE_SALT_BYTES;
    for (unsigned i = 0; i < FAKE_SALT_BYTES / 8; i++, key.k1++) {
        uint64_t h = gw_siphash(&key, bare.p, bare.len);
        memcpy(x->keys.salt + 8 * i, &h, 8);
    }
    l->random(l->random_ctx, x->keys.stored_key, sizeof(x->keys.stored_key));
}

static void load_keys(struct gw_lcore *l, struct exchange *x, const struct gw_store_completion *done)
{
    struct gw_account a;
    struct gw_bytes plain;
    x->known = false;
    if (done->status == 0) {
        if (gw_small_open(l->keys, l->sealer, GW_NS_ACCOUNT, gw_jid_bare(&x->jid), x->account,
                          done->len, &plain) != 0 ||
            gw_account_unpack(plain.p, plain.len, &a) != 0) {
            GW_COUNT(l->edge_count.accounts_damaged);
        } else if (a.scram[x->hash].iterations != 0) {
            x->known = true;
            x->keys = a.scram[x->hash];
            gw_hash(l->hasher, GW_HASH_SHA_256, gw_bytes(a.identity_key, 32), x->identity);
        }
        explicit_bzero(&a, sizeof(a));
        explicit_bzero(x->account, sizeof(x->account));
    }
    if (!x->known)
        fake_keys(l, x);
}

/* ---- SCRAM ---- */

static void challenge(struct gw_lcore *l, gw_conn c, struct exchange *x)
{
    uint8_t random[NONCE_BYTES];
    char ours[NONCE_BYTES / 3 * 4 + 1], salt[GW_SCRAM_SALT_BYTES_MAX * 2];
    struct gw_text t = gw_text(x->server_first, sizeof(x->server_first));
    l->random(l->random_ctx, random, sizeof(random));
    gw_base64_encode(gw_bytes(random, sizeof(random)), ours);
    size_t salt_len = gw_base64_encode(gw_bytes(x->keys.salt, x->keys.salt_len), salt);
    gw_text_str(&t, "r=");
    gw_text_put(&t, gw_bytes(x->client_first + x->nonce_off, x->nonce_len));
    gw_text_str(&t, ours);
    x->nonce_len += (uint32_t)strlen(ours); /* from here on: of the whole nonce, in server_first */
    gw_text_str(&t, ",s=");
    gw_text_put(&t, gw_bytes(salt, salt_len));
    gw_text_str(&t, ",i=");
    gw_text_uint(&t, x->keys.iterations);
    check(!t.full);
    x->server_first_len = (uint32_t)t.len;
    x->step = WAITING_FOR_PROOF;
    send_base64(l, c, "challenge", gw_text_bytes(&t));
}

static enum gw_sasl_failure scram_first(struct gw_lcore *l, gw_conn c, struct exchange *x,
                                        struct gw_bytes m)
{
    struct gw_scram_first f;
    char name[GW_SCRAM_NAME_BYTES_MAX], authzid[GW_JID_BYTES_MAX];
    enum gw_sasl_failure why = gw_scram_parse_first(m, &f);
    if (why != GW_SASL_OK)
        return why;
    int name_len = gw_scram_saslname(f.name, name, sizeof(name));
    int authzid_len = gw_scram_saslname(f.authzid, authzid, sizeof(authzid));
    if (name_len <= 0 || authzid_len < 0 || m.len > sizeof(x->client_first))
        return GW_SASL_MALFORMED_REQUEST;
    memcpy(x->client_first, m.p, m.len);
    x->gs2_len = (uint32_t)f.gs2_header.len;
    x->first_bare_len = (uint32_t)f.bare.len;
    x->nonce_off = (uint32_t)(f.nonce.p - m.p);
    x->nonce_len = (uint32_t)f.nonce.len;
    why = set_user(l, c, x, gw_bytes(name, (size_t)name_len),
                   gw_bytes(authzid, (size_t)authzid_len));
    return why != GW_SASL_OK ? why : read_account(l, c, x);
}

static bool binding_matches(const struct exchange *x, struct gw_bytes base64)
{
    uint8_t got[GW_JID_BYTES_MAX + 64];
    int n = gw_base64_decode(base64, got, sizeof(got));
    return n >= 0 && gw_bytes_eq(gw_bytes(got, (size_t)n), gw_bytes(x->client_first, x->gs2_len));
}

static enum gw_sasl_failure scram_final(struct gw_lcore *l, gw_conn c, struct exchange *x,
                                        struct gw_bytes m)
{
    struct gw_scram_final f;
    uint8_t proof[GW_SCRAM_KEY_BYTES_MAX + 3], signature[GW_HASH_BYTES_MAX];
    enum gw_sasl_failure why = gw_scram_parse_final(m, &f);
    if (why != GW_SASL_OK)
        return why;
    size_t key_len = gw_scram_key_bytes(x->hash);
    if (!binding_matches(x, f.binding) ||
        !gw_bytes_eq(f.nonce, gw_bytes(x->server_first + 2, x->nonce_len)) ||
        gw_base64_decode(f.proof, proof, sizeof(proof)) != (int)key_len)
        return GW_SASL_NOT_AUTHORIZED;
    struct gw_bytes auth[5] = {
        gw_bytes(x->client_first + x->gs2_len, x->first_bare_len), GW_LIT(","),
        gw_bytes(x->server_first, x->server_first_len), GW_LIT(","), f.without_proof,
    };
    if (!gw_scram_verify(l->hasher, x->hash, &x->keys, auth, 5, proof, signature) || !x->known)
        return GW_SASL_NOT_AUTHORIZED;
    char final[2 + SIGNATURE_TEXT_BYTES] = "v=";
    size_t n = gw_base64_encode(gw_bytes(signature, key_len), final + 2);
    succeed(l, c, gw_bytes(final, n + 2));
    return GW_SASL_OK;
}

/* ---- PLAIN (RFC 4616) ---- */

static enum gw_sasl_failure plain(struct gw_lcore *l, gw_conn c, struct exchange *x,
                                  struct gw_bytes m)
{
    const uint8_t *end = m.p + m.len;
    const uint8_t *a = m.len ? memchr(m.p, '\0', m.len) : NULL;
    const uint8_t *b = a ? memchr(a + 1, '\0', (size_t)(end - a - 1)) : NULL;
    if (b == NULL || b == a + 1 || b + 1 == end || memchr(b + 1, '\0', (size_t)(end - b - 1)))
        return GW_SASL_MALFORMED_REQUEST;
    struct gw_bytes password = gw_bytes(b + 1, (size_t)(end - b - 1));
    if (password.len > GW_DERIVER_PASSWORD_BYTES_MAX)
        return GW_SASL_NOT_AUTHORIZED;
    memcpy(x->job.password, password.p, password.len);
    x->job.password_len = (uint32_t)password.len;
    enum gw_sasl_failure why = set_user(l, c, x, gw_bytes(a + 1, (size_t)(b - a - 1)),
                                        gw_bytes(m.p, (size_t)(a - m.p)));
    return why != GW_SASL_OK ? why : read_account(l, c, x);
}

static enum gw_sasl_failure derive(struct gw_lcore *l, gw_conn c, struct exchange *x)
{
    x->job.tag = gw_edge_conn(l, c)->sasl_block;
    x->job.hash = x->hash;
    x->job.keys = x->keys;
    if (!gw_deriver_submit(l->deriver, &x->job))
        return GW_SASL_TEMPORARY_AUTH_FAILURE;
    x->step = DERIVING;
    gw_edge_pause(l, c, GW_PAUSE_STORE);
    return GW_SASL_OK;
}

static enum gw_sasl_failure plain_derived(struct gw_lcore *l, gw_conn c, struct exchange *x)
{
    if (x->job.status != 0)
        return GW_SASL_TEMPORARY_AUTH_FAILURE;
    if (!gw_equal_secret(x->job.keys.stored_key, x->keys.stored_key, gw_scram_key_bytes(x->hash)) ||
        !x->known)
        return GW_SASL_NOT_AUTHORIZED;
    succeed(l, c, gw_bytes(NULL, 0));
    return GW_SASL_OK;
}

/* ---- what came back ---- */

/* The connection that exchange b belongs to, or 0 when it is gone: then the exchange goes too. */
static gw_conn owner(struct gw_lcore *l, gw_block b)
{
    struct exchange *x = exchange_at(l, b);
    x->step = IDLE;
    if (gw_edge_conn(l, x->conn.index)->generation == x->conn.generation &&
        gw_edge_conn(l, x->conn.index)->sasl_block == b) {
        gw_edge_resume(l, x->conn.index, GW_PAUSE_STORE);
        return x->conn.index;
    }
    free_exchange(l, b);
    return 0;
}

void gw_edge_store_done(struct gw_lcore *l, const struct gw_store_completion *done)
{
    gw_block b = (gw_block)done->tag;
    if (done->tag & GW_TAG_PERSONAL) {
        gw_personal_store_done(l, done);
        return;
    }
    gw_conn c = owner(l, b);
    if (c == 0)
        return;
    struct exchange *x = exchange_at(l, b);
    enum gw_sasl_failure why = GW_SASL_OK;
    if (done->status != 0 && done->status != -ENOENT) {
        why = GW_SASL_TEMPORARY_AUTH_FAILURE;
    } else {
        load_keys(l, x, done);
        if (x->plain)
            why = derive(l, c, x);
        else
            challenge(l, c, x);
    }
    if (why != GW_SASL_OK)
        fail(l, c, why);
}

unsigned gw_edge_poll_deriver(struct gw_lcore *l)
{
    struct gw_derive_job *jobs[16];
    unsigned n = gw_deriver_poll(l->deriver, jobs, 16);
    for (unsigned i = 0; i < n; i++) {
        gw_block b = (gw_block)jobs[i]->tag;
        gw_conn c = owner(l, b);
        enum gw_sasl_failure why = c ? plain_derived(l, c, exchange_at(l, b)) : GW_SASL_OK;
        if (why != GW_SASL_OK)
            fail(l, c, why);
    }
    return n;
}

/* ---- the client's elements ---- */

static bool read_mechanism(const struct gw_lcore *l, struct exchange *x)
{
    const struct gw_xml_attr *a = gw_xml_attr(l->xml, 0, GW_LIT("mechanism"));
    if (a == NULL)
        return false;
    x->plain = gw_bytes_eq(a->value, GW_LIT("PLAIN"));
    x->hash = gw_bytes_eq(a->value, GW_LIT("SCRAM-SHA-1")) ? GW_SCRAM_SHA_1 : GW_SCRAM_SHA_256;
    return (x->plain && l->cfg->allow_plain) || x->hash == GW_SCRAM_SHA_1 ||
           gw_bytes_eq(a->value, GW_LIT("SCRAM-SHA-256"));
}

/* The element's base64; "=" stands for nothing (RFC 6120 section 6.4.2). */
static int payload(const struct gw_lcore *l, uint8_t *out, size_t cap)
{
    char text[8192];
    int n = gw_xml_text(l->xml, 0, text, sizeof(text));
    if (n == 1 && text[0] == '=')
        return 0;
    return n < 0 ? -1 : gw_base64_decode(gw_bytes(text, (size_t)n), out, cap);
}

static enum gw_sasl_failure begin(struct gw_lcore *l, gw_conn c)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    uint8_t m[8192];
    gw_edge_sasl_free(l, c);
    e->sasl_block = gw_arena_get(l->arena, sizeof(struct exchange));
    if (e->sasl_block == 0)
        return GW_SASL_TEMPORARY_AUTH_FAILURE;
    struct exchange *x = exchange_at(l, e->sasl_block);
    memset(x, 0, sizeof(*x));
    x->conn = gw_edge_ref(l, c);
    if (!read_mechanism(l, x))
        return GW_SASL_INVALID_MECHANISM;
    int n = payload(l, m, sizeof(m));
    if (n < 0)
        return GW_SASL_INCORRECT_ENCODING;
    if (n == 0) /* both mechanisms begin with the client's message */
        return GW_SASL_MALFORMED_REQUEST;
    enum gw_sasl_failure why =
        x->plain ? plain(l, c, x, gw_bytes(m, (size_t)n)) : scram_first(l, c, x, gw_bytes(m, (size_t)n));
    explicit_bzero(m, sizeof(m));
    return why;
}

static enum gw_sasl_failure respond(struct gw_lcore *l, gw_conn c)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    uint8_t m[8192];
    if (e->sasl_block == 0 || exchange_at(l, e->sasl_block)->step != WAITING_FOR_PROOF)
        return GW_SASL_MALFORMED_REQUEST;
    int n = payload(l, m, sizeof(m));
    if (n <= 0)
        return n < 0 ? GW_SASL_INCORRECT_ENCODING : GW_SASL_MALFORMED_REQUEST;
    return scram_final(l, c, exchange_at(l, e->sasl_block), gw_bytes(m, (size_t)n));
}

enum gw_handled gw_edge_sasl(struct gw_lcore *l, gw_conn c)
{
    struct gw_bytes name = l->xml->nodes[0].name;
    enum gw_sasl_failure why;
    if (gw_bytes_eq(name, GW_LIT("auth")))
        why = begin(l, c);
    else if (gw_bytes_eq(name, GW_LIT("response")))
        why = respond(l, c);
    else if (gw_bytes_eq(name, GW_LIT("abort")))
        why = GW_SASL_ABORTED;
    else
        why = GW_SASL_MALFORMED_REQUEST;
    if (why != GW_SASL_OK)
        fail(l, c, why);
    return GW_HANDLED;
}
