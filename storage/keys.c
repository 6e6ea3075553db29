/* SPDX-License-Identifier: Apache-2.0 */
#include "keys.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "../dataplane/base/check.h"

#define WRAP_FORMAT     1
#define MASTERS_MAX     2 /* the one that wraps, and one that still opens or will */
#define WHERE_BYTES_MAX 4608
#define CREDENTIAL      "credential:"
#define NEXT            ".next"

enum { KEY_ABSENT, KEY_PRESENT, KEY_RETIRED };

struct master {
    bool known;
    uint8_t id[GW_MASTER_ID_BYTES];
    uint8_t key[32];
};

struct gw_keyring {
    size_t mapped_bytes;
    char where[WHERE_BYTES_MAX];
    pthread_mutex_t lock;
    /* under lock */
    struct master masters[MASTERS_MAX];
    unsigned wraps; /* which of them */
    /* A number's key is written before `present` says so, and wiped after. */
    _Atomic uint32_t current;
    atomic_uchar present[GW_INCARNATION_MAX + 1];
    uint8_t keys[GW_INCARNATION_MAX + 1][32];
};

/* ---- the master key's file ---- */

static int hex_value(int c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = tolower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool decode_hex(const uint8_t *in, uint8_t out[32])
{
    for (int i = 0; i < 32; i++) {
        int hi = hex_value(in[2 * i]), lo = hex_value(in[2 * i + 1]);
        if (hi < 0 || lo < 0)
            return false;
        out[i] = (uint8_t)(hi << 4 | lo);
    }
    return true;
}

static int decode_master(const uint8_t *in, size_t len, uint8_t out[32])
{
    if (len == 32) {
        memcpy(out, in, 32);
        return 0;
    }
    if (len == 65 && in[64] == '\n')
        len = 64;
    return len == 64 && decode_hex(in, out) ? 0 : -EINVAL;
}

/* What systemd hands over lies in a directory that nobody else may enter, and its files may carry an
 * access list whose mask shows as the group's rights. */
static mode_t forbidden_mode(const char *where)
{
    return strncmp(where, CREDENTIAL, sizeof(CREDENTIAL) - 1) == 0 ? 007 : 077;
}

static int path_of(const char *where, const char *ending, char path[WHERE_BYTES_MAX], char err[256])
{
    int n;
    if (strncmp(where, CREDENTIAL, sizeof(CREDENTIAL) - 1) == 0) {
        const char *dir = getenv("CREDENTIALS_DIRECTORY");
        if (dir == NULL) {
            snprintf(err, 256, "master key %.100s: $CREDENTIALS_DIRECTORY is not set", where);
            return -ENOENT;
        }
        n = snprintf(path, WHERE_BYTES_MAX, "%s/%s%s", dir, where + sizeof(CREDENTIAL) - 1, ending);
    } else {
        n = snprintf(path, WHERE_BYTES_MAX, "%s%s", where, ending);
    }
    if (n < WHERE_BYTES_MAX)
        return 0;
    snprintf(err, 256, "the path of the master key is too long");
    return -ENAMETOOLONG;
}

static int read_master(const char *where, const char *ending, uint8_t out[32], char err[256])
{
    char path[WHERE_BYTES_MAX];
    int rc = path_of(where, ending, path, err);
    if (rc)
        return rc;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        int e = errno;
        snprintf(err, 256, "master key %.160s: %s", path, strerror(e));
        return -e;
    }
    struct stat st;
    uint8_t text[66];
    ssize_t n = -1;
    rc = -EPERM;
    if (fstat(fd, &st) != 0 || (st.st_mode & forbidden_mode(where)) != 0)
        snprintf(err, 256, "master key %.160s: must be readable by its owner alone (chmod 600)",
                 path);
    else if ((n = read(fd, text, sizeof(text))) < 0)
        rc = -errno, snprintf(err, 256, "master key %.160s: %s", path, strerror(errno));
    else if ((rc = decode_master(text, (size_t)n, out)) != 0)
        snprintf(err, 256, "master key %.160s: holds neither 32 bytes nor 64 hex digits", path);
    OPENSSL_cleanse(text, sizeof(text));
    close(fd);
    return rc;
}

/* ---- master keys in memory ---- */

static void derive(const uint8_t key[32], const char *label, uint8_t out[32])
{
    check(HMAC(EVP_sha256(), key, 32, (const uint8_t *)label, strlen(label), out, NULL));
}

static struct master *find_master(struct gw_keyring *k, const uint8_t id[GW_MASTER_ID_BYTES])
{
    for (unsigned i = 0; i < MASTERS_MAX; i++)
        if (k->masters[i].known && memcmp(k->masters[i].id, id, GW_MASTER_ID_BYTES) == 0)
            return &k->masters[i];
    return NULL;
}

/* 0, -EEXIST: it is known; -EBUSY: there is no room. *out is its place in the first two cases. */
static int add_master(struct gw_keyring *k, const uint8_t key[32], unsigned *out)
{
    struct master m = {.known = true};
    uint8_t id[32];
    memcpy(m.key, key, 32);
    derive(key, "godwit master key id", id);
    memcpy(m.id, id, sizeof(m.id));
    const struct master *old = find_master(k, m.id);
    int rc = old != NULL ? -EEXIST : -EBUSY;
    if (old != NULL)
        *out = (unsigned)(old - k->masters);
    for (unsigned i = 0; i < MASTERS_MAX && rc == -EBUSY; i++) {
        if (k->masters[i].known)
            continue;
        k->masters[i] = m;
        *out = i;
        rc = 0;
    }
    OPENSSL_cleanse(&m, sizeof(m));
    return rc;
}

static int read_and_add(struct gw_keyring *k, const char *ending, unsigned *out, char err[256])
{
    uint8_t key[32];
    int rc = read_master(k->where, ending, key, err);
    if (rc == 0) {
        rc = add_master(k, key, out);
        if (rc == -EBUSY)
            snprintf(err, 256, "an earlier rotation of the master key has not come to its end");
    }
    OPENSSL_cleanse(key, sizeof(key));
    return rc;
}

int gw_keyring_master_next(struct gw_keyring *k, char err[256])
{
    unsigned next;
    pthread_mutex_lock(&k->lock);
    int rc = read_and_add(k, NEXT, &next, err);
    if (rc == -EEXIST && next != k->wraps)
        rc = 0;
    if (rc == 0)
        k->wraps = next;
    pthread_mutex_unlock(&k->lock);
    return rc;
}

void gw_keyring_master_settle(struct gw_keyring *k)
{
    pthread_mutex_lock(&k->lock);
    for (unsigned i = 0; i < MASTERS_MAX; i++)
        if (i != k->wraps)
            OPENSSL_cleanse(&k->masters[i], sizeof(k->masters[i]));
    pthread_mutex_unlock(&k->lock);
}

unsigned gw_keyring_masters(struct gw_keyring *k, uint8_t current_id[GW_MASTER_ID_BYTES])
{
    unsigned n = 0;
    pthread_mutex_lock(&k->lock);
    for (unsigned i = 0; i < MASTERS_MAX; i++)
        n += k->masters[i].known;
    memcpy(current_id, k->masters[k->wraps].id, GW_MASTER_ID_BYTES);
    pthread_mutex_unlock(&k->lock);
    return n;
}

/* ---- wrapping ---- */

static struct gw_seal_op wrap_op(const struct master *m, struct gw_bytes name,
                                 struct gw_wrapped_key *w)
{
    struct gw_seal_op op = {
        .key = m->key, .aad = name.p, .aad_len = (uint32_t)name.len, .len = 32, .tag = w->tag};
    memcpy(&op.nonce.thread, w->iv, 4);
    memcpy(&op.nonce.counter, w->iv + 4, 8);
    return op;
}

/* The nonce is random: of all that one master key ever wraps, a few million at most. */
int gw_keyring_wrap(struct gw_keyring *k, struct gw_sealer *s, struct gw_bytes name,
                    const uint8_t key[32], struct gw_wrapped_key *out)
{
    *out = (struct gw_wrapped_key){.format = WRAP_FORMAT};
    if (getrandom(out->iv, sizeof(out->iv), 0) != sizeof(out->iv))
        return -EIO;
    pthread_mutex_lock(&k->lock);
    const struct master *m = &k->masters[k->wraps];
    memcpy(out->master_id, m->id, sizeof(out->master_id));
    struct gw_seal_op op = wrap_op(m, name, out);
    op.in = key;
    op.out = out->key;
    gw_seal_burst(s, &op, 1);
    pthread_mutex_unlock(&k->lock);
    return 0;
}

int gw_keyring_unwrap(struct gw_keyring *k, struct gw_sealer *s, struct gw_bytes name,
                      const struct gw_wrapped_key *w, uint8_t key[32])
{
    if (w->format != WRAP_FORMAT)
        return -EBADMSG;
    struct gw_wrapped_key copy = *w;
    int rc = -EKEYREJECTED;
    pthread_mutex_lock(&k->lock);
    const struct master *m = find_master(k, w->master_id);
    if (m != NULL) {
        struct gw_seal_op op = wrap_op(m, name, &copy);
        op.in = copy.key;
        op.out = key;
        rc = gw_open_burst(s, &op, 1) == 0 ? 0 : -EBADMSG;
    }
    pthread_mutex_unlock(&k->lock);
    return rc;
}

bool gw_keyring_is_current(struct gw_keyring *k, const struct gw_wrapped_key *w)
{
    pthread_mutex_lock(&k->lock);
    bool is = memcmp(w->master_id, k->masters[k->wraps].id, sizeof(w->master_id)) == 0;
    pthread_mutex_unlock(&k->lock);
    return is;
}

int gw_keyring_rewrap(struct gw_keyring *k, struct gw_sealer *s, struct gw_bytes name,
                      struct gw_wrapped_key *w)
{
    uint8_t key[32];
    int rc = gw_keyring_unwrap(k, s, name, w, key);
    if (rc == 0)
        rc = gw_keyring_wrap(k, s, name, key, w);
    OPENSSL_cleanse(key, sizeof(key));
    return rc;
}

/* ---- incarnations and the root key ---- */

#define NUMBER_NAME_BYTES 32

static struct gw_bytes number_name(uint8_t buf[NUMBER_NAME_BYTES], uint32_t number)
{
    static const char label[] = "godwit incarnation key";
    memcpy(buf, label, sizeof(label) - 1);
    gw_put_be32(buf + sizeof(label) - 1, number);
    return gw_bytes(buf, sizeof(label) - 1 + 4);
}

static void wraps_what_root_says(struct gw_keyring *k, const struct gw_wrapped_key *root)
{
    pthread_mutex_lock(&k->lock);
    const struct master *m = find_master(k, root->master_id);
    check(m != NULL);
    k->wraps = (unsigned)(m - k->masters);
    pthread_mutex_unlock(&k->lock);
}

int gw_keyring_load(struct gw_keyring *k, struct gw_sealer *s, uint32_t number,
                    const struct gw_wrapped_key *w)
{
    uint8_t buf[NUMBER_NAME_BYTES];
    if (number > GW_INCARNATION_MAX)
        return -EBADMSG;
    int rc = gw_keyring_unwrap(k, s, number_name(buf, number), w, k->keys[number]);
    if (rc)
        return rc;
    if (number == GW_KEY_ROOT)
        wraps_what_root_says(k, w);
    atomic_store_explicit(&k->present[number], KEY_PRESENT, memory_order_release);
    if (number > atomic_load(&k->current))
        atomic_store_explicit(&k->current, number, memory_order_release);
    return 0;
}

int gw_keyring_draw(struct gw_keyring *k, struct gw_sealer *s, uint32_t number,
                    struct gw_wrapped_key *out)
{
    uint8_t buf[NUMBER_NAME_BYTES];
    check(number <= GW_INCARNATION_MAX && !atomic_load(&k->present[number]));
    if (getrandom(k->keys[number], 32, 0) != 32)
        return -EIO;
    int rc = gw_keyring_wrap(k, s, number_name(buf, number), k->keys[number], out);
    if (rc == 0)
        atomic_store_explicit(&k->present[number], KEY_PRESENT, memory_order_release);
    return rc;
}

void gw_keyring_use(struct gw_keyring *k, uint32_t number)
{
    check(atomic_load(&k->present[number]) && number > atomic_load(&k->current));
    atomic_store_explicit(&k->current, number, memory_order_release);
}

void gw_keyring_retire(struct gw_keyring *k, uint32_t number)
{
    check(number != GW_KEY_ROOT && number < atomic_load(&k->current));
    atomic_store_explicit(&k->present[number], KEY_RETIRED, memory_order_release);
}

void gw_keyring_wipe_retired(struct gw_keyring *k)
{
    for (uint32_t n = 1; n < atomic_load(&k->current); n++) {
        if (atomic_load(&k->present[n]) != KEY_RETIRED)
            continue;
        atomic_store_explicit(&k->present[n], KEY_ABSENT, memory_order_release);
        OPENSSL_cleanse(k->keys[n], 32);
    }
}

unsigned gw_keyring_incarnations(const struct gw_keyring *k)
{
    unsigned count = 0;
    for (uint32_t n = 1; n <= atomic_load(&k->current); n++)
        count += atomic_load_explicit(&k->present[n], memory_order_relaxed) == KEY_PRESENT;
    return count;
}

int gw_keyring_rewrap_number(struct gw_keyring *k, struct gw_sealer *s, uint32_t number,
                             struct gw_wrapped_key *w)
{
    uint8_t buf[NUMBER_NAME_BYTES];
    return gw_keyring_rewrap(k, s, number_name(buf, number), w);
}

/* ---- life ---- */

static int read_masters(struct gw_keyring *k, char err[256])
{
    unsigned at;
    char missing[256];
    int rc = read_and_add(k, "", &at, err);
    if (rc)
        return rc;
    k->wraps = at;
    rc = read_and_add(k, NEXT, &at, missing);
    if (rc != 0 && rc != -ENOENT && rc != -EEXIST) {
        memcpy(err, missing, sizeof(missing));
        return rc;
    }
    return 0;
}

int gw_keyring_open(struct gw_keyring **out, const char *where, char err[256])
{
    size_t bytes = (sizeof(struct gw_keyring) + 4095) & ~(size_t)4095;
    struct gw_keyring *k =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (k == MAP_FAILED)
        return -ENOMEM;
    k->mapped_bytes = bytes;
    madvise(k, bytes, MADV_DONTDUMP);
    /* Where RLIMIT_MEMLOCK forbids it the keys may reach swap: said in docs/OPERATING.md. */
    (void)mlock(k, bytes);
    check(pthread_mutex_init(&k->lock, NULL) == 0);
    int rc = snprintf(k->where, sizeof(k->where), "%s", where) < (int)sizeof(k->where)
                 ? read_masters(k, err)
                 : -ENAMETOOLONG;
    if (rc != 0)
        gw_keyring_free(&k);
    else
        *out = k;
    return rc;
}

void gw_keyring_free(struct gw_keyring **k)
{
    if (*k == NULL)
        return;
    size_t bytes = (*k)->mapped_bytes;
    pthread_mutex_destroy(&(*k)->lock);
    OPENSSL_cleanse(*k, bytes);
    munmap(*k, bytes);
    *k = NULL;
}

/* ---- reading ---- */

bool gw_keyring_has(const struct gw_keyring *k, uint32_t number)
{
    return number <= GW_INCARNATION_MAX &&
           atomic_load_explicit(&k->present[number], memory_order_acquire) != KEY_ABSENT;
}

uint32_t gw_keyring_current(const struct gw_keyring *k)
{
    return atomic_load_explicit(&k->current, memory_order_acquire);
}

const uint8_t *gw_keyring_key(const struct gw_keyring *k, uint32_t incarnation)
{
    return incarnation != GW_KEY_ROOT && gw_keyring_has(k, incarnation) ? k->keys[incarnation]
                                                                        : NULL;
}

void gw_keyring_derive(const struct gw_keyring *k, const char *label, uint8_t out[32])
{
    check(atomic_load_explicit(&k->present[GW_KEY_ROOT], memory_order_acquire));
    derive(k->keys[GW_KEY_ROOT], label, out);
}

/* ---- identity and associated data ---- */

struct gw_identity gw_identity_of(const uint8_t identity_key[32])
{
    struct gw_identity id;
    check(EVP_Digest(identity_key, 32, id.hash, NULL, EVP_sha256(), NULL) == 1);
    return id;
}

struct gw_mailbox_id gw_identity_mailbox(const struct gw_identity *id)
{
    struct gw_mailbox_id m;
    memcpy(m.b, id->hash, sizeof(m.b));
    return m;
}

void gw_record_aad(uint8_t aad[GW_RECORD_AAD_BYTES], const struct gw_identity *id,
                   uint64_t position, enum gw_record_kind kind, bool account_key)
{
    memset(aad, 0, GW_RECORD_AAD_BYTES);
    if (id)
        memcpy(aad, id->hash, 32);
    memcpy(aad + 32, &position, 8);
    aad[40] = (uint8_t)kind;
    aad[41] = account_key;
}

void gw_removal_aad(uint8_t aad[GW_RECORD_AAD_BYTES], const struct gw_mailbox_id *mailbox,
                    uint64_t position)
{
    memset(aad, 0, GW_RECORD_AAD_BYTES);
    memcpy(aad, mailbox->b, sizeof(mailbox->b));
    memcpy(aad + 32, &position, 8);
    aad[40] = GW_RECORD_REMOVE;
}

/* ---- small records: incarnation, nonce, tag, sealed bytes ---- */

struct small_head {
    uint32_t incarnation;
    uint32_t nonce_thread;
    uint64_t nonce_counter;
    uint8_t tag[16];
};
_Static_assert(sizeof(struct small_head) == GW_SMALL_OVERHEAD_BYTES, "small record head");

static uint32_t small_aad(uint8_t *aad, uint8_t ns, struct gw_bytes key)
{
    check(key.len <= GW_SMALL_KEY_BYTES_MAX);
    aad[0] = ns;
    memcpy(aad + 1, key.p, key.len);
    return (uint32_t)key.len + 1;
}

void gw_small_seal(const struct gw_keyring *k, struct gw_sealer *s, uint8_t ns, struct gw_bytes key,
                   struct gw_bytes plain, uint8_t *out)
{
    uint8_t aad[1 + GW_SMALL_KEY_BYTES_MAX];
    struct gw_nonce nonce = gw_sealer_nonce(s);
    struct small_head h = {gw_keyring_current(k), nonce.thread, nonce.counter, {0}};
    struct gw_seal_op op = {
        .key = gw_keyring_key(k, h.incarnation),
        .nonce = nonce,
        .aad = aad,
        .aad_len = small_aad(aad, ns, key),
        .len = (uint32_t)plain.len,
        .in = plain.p,
        .out = out + sizeof(h),
        .tag = h.tag,
    };
    gw_seal_burst(s, &op, 1);
    memcpy(out, &h, sizeof(h));
}

int gw_small_open(const struct gw_keyring *k, struct gw_sealer *s, uint8_t ns, struct gw_bytes key,
                  uint8_t *sealed, size_t len, struct gw_bytes *plain)
{
    uint8_t aad[1 + GW_SMALL_KEY_BYTES_MAX];
    struct small_head h;
    if (len < sizeof(h))
        return -EBADMSG;
    memcpy(&h, sealed, sizeof(h));
    struct gw_seal_op op = {
        .key = gw_keyring_key(k, h.incarnation),
        .nonce = {h.nonce_thread, h.nonce_counter},
        .aad = aad,
        .aad_len = small_aad(aad, ns, key),
        .len = (uint32_t)(len - sizeof(h)),
        .in = sealed + sizeof(h),
        .out = sealed + sizeof(h),
        .tag = h.tag,
    };
    if (op.key == NULL || gw_open_burst(s, &op, 1) != 0)
        return -EBADMSG;
    *plain = gw_bytes(sealed + sizeof(h), len - sizeof(h));
    return 0;
}

uint32_t gw_small_incarnation(const uint8_t *sealed, size_t len)
{
    uint32_t incarnation = 0;
    if (len >= sizeof(struct small_head))
        memcpy(&incarnation, sealed + offsetof(struct small_head, incarnation), 4);
    return incarnation;
}
