/* SPDX-License-Identifier: Apache-2.0 */
#include "offline.h"

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../storage/keys.h"

#define BACKUPS_MAX     1000u
#define STATUS_DAMAGED  4
#define PROGRESS_SLICES 10000u

static int fail(const char *what)
{
    fprintf(stderr, "godwitd: %s\n", what);
    return 1;
}

int offline_open(struct offline_store *s, const struct gw_config *c, const char *path,
                 unsigned client_count, char err[256])
{
    *s = (struct offline_store){0};
    int rc = gw_keyring_open(&s->keys, c->master_key_path, err);
    if (rc != 0)
        return rc;
    struct gw_store_config cfg = {.engine = c->store_engine,
                                  .path = path,
                                  .durability = c->durability,
                                  .client_count = client_count,
                                  .requests_max = 16,
                                  .window_bytes_max = (uint64_t)c->window_mib << 20,
                                  .spill_after_us = (uint64_t)c->spill_after_ms * 1000,
                                  .own_thread = true,
                                  .storage_cpu = -1,
                                  .keys = s->keys};
    return gw_store_open(&s->store, &cfg, err);
}

void offline_close(struct offline_store *s)
{
    gw_store_free(&s->store);
    gw_keyring_free(&s->keys);
}

/* ---- backups ---- */

int offline_list_backups(const struct gw_config *c)
{
    static struct gw_store_backup found[BACKUPS_MAX];
    char err[256] = "";
    int n = gw_store_backups(c->store_engine, c->backup_path, found, BACKUPS_MAX, err);
    if (n < 0)
        return fail(err);
    for (int i = 0; i < n; i++) {
        time_t at = (time_t)found[i].made_at;
        struct tm t;
        char when[40] = "-";
        if (gmtime_r(&at, &t) != NULL)
            strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &t);
        printf("%" PRIu32 "\t%s\t%" PRIu64 "\n", found[i].id, when, found[i].bytes);
    }
    return 0;
}

/* The newest when none is named; 0: there is none. */
static uint32_t choose(const struct gw_config *c, uint32_t id, char err[256])
{
    struct gw_store_backup newest;
    if (id != 0)
        return id;
    int n = gw_store_backups(c->store_engine, c->backup_path, &newest, 1, err);
    if (n == 0)
        snprintf(err, 256, "there are no backups in %.180s", c->backup_path);
    return n == 1 ? newest.id : 0;
}

static int restore_to(const struct gw_config *c, uint32_t id, const char *path)
{
    char err[256] = "";
    uint32_t chosen = choose(c, id, err);
    if (chosen == 0 ||
        gw_store_restore(c->store_engine, c->backup_path, chosen, path, err) != 0)
        return fail(err);
    fprintf(stderr, "godwitd: backup %" PRIu32 " is restored to %s\n", chosen, path);
    return 0;
}

int offline_restore(const struct gw_config *c, uint32_t id)
{
    return restore_to(c, id, c->store_path);
}

/* ---- verification ---- */

static void print_damages(const struct gw_walk *w)
{
    for (unsigned i = 0; i < w->damage_count; i++) {
        const struct gw_damage *d = &w->damages[i];
        printf("mailbox ");
        for (size_t k = 0; k < sizeof(d->mailbox.b); k++)
            printf("%02x", d->mailbox.b[k]);
        printf(", position %" PRIu64 ": %s\n", d->position, d->what);
    }
}

static int walk_all(struct gw_store_client *client)
{
    static struct gw_walk walk;
    struct gw_store_request r = {
        .op = GW_STORE_VERIFY, .data = &walk, .data_len = sizeof(walk)};
    struct gw_store_completion done;
    for (unsigned n = 1; !walk.ended; n++) {
        int rc = gw_store_call(client, &r, &done);
        if (rc != 0)
            return fail(strerror(-rc));
        print_damages(&walk);
        if (n % PROGRESS_SLICES == 0)
            fprintf(stderr, "godwitd: %" PRIu64 " records so far\n", walk.looked_at);
    }
    fprintf(stderr, "godwitd: %" PRIu64 " records, %" PRIu64 " of them messages in %" PRIu64
                    " mailboxes: %" PRIu64 " do not open\n",
            walk.looked_at, walk.messages, walk.mailboxes, walk.damaged);
    return walk.damaged > 0 ? STATUS_DAMAGED : 0;
}

static int verify_at(const struct gw_config *c, const char *path)
{
    char err[256] = "";
    struct offline_store s;
    int status = offline_open(&s, c, path, 1, err) == 0 ? walk_all(gw_store_client(s.store, 0))
                                                        : fail(err);
    offline_close(&s);
    return status;
}

int offline_verify_store(const struct gw_config *c)
{
    if (access(c->store_path, F_OK) != 0)
        return fail("there is no store where the configuration says");
    return verify_at(c, c->store_path);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    return remove(path);
}

int offline_verify_backup(const struct gw_config *c, uint32_t id)
{
    char path[4200];
    snprintf(path, sizeof(path), "%s.verify", c->store_path);
    if (access(path, F_OK) == 0) {
        fprintf(stderr, "godwitd: %s is in the way: another verification, or what one left\n", path);
        return 1;
    }
    int status = restore_to(c, id, path);
    if (status == 0)
        status = verify_at(c, path);
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT)
        fprintf(stderr, "godwitd: %s could not be removed: %s\n", path, strerror(errno));
    return status;
}
