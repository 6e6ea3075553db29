/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accounts in the store, for the job thread: it may wait for the store and derive keys.
 *
 * Deleting takes three steps with a tombstone in between, so that whatever dies in the middle a later
 * account of the same name inherits nothing: begin (the record goes, nobody can log in), then the
 * caller ends the sessions on all lcores, then end (roster and mailbox go). While an account is being
 * deleted nobody creates one of its name.
 */
#ifndef GW_CONTROL_ACCOUNTS_H
#define GW_CONTROL_ACCOUNTS_H

#include <pthread.h>

#include "../dataplane/xmpp/jid.h"
#include "../storage/account.h"
#include "../storage/keys.h"
#include "password.h"
#include "store_ops.h"

#define ACCOUNT_SEALED_BYTES_MAX (GW_ACCOUNT_PACKED_BYTES_MAX + GW_SMALL_OVERHEAD_BYTES)

struct account_deletion {
    struct gw_jid_text jid;
    struct gw_mailbox_id mailbox;
    bool has_mailbox; /* false: the record could not be opened, its mailbox is not known */
    uint64_t tombstone_version;
    struct account_deletion *next;
};

struct accounts {
    struct store_ops *ops;
    const struct gw_keyring *keys;
    struct gw_sealer *sealer;
    uint32_t iterations;
    pthread_mutex_t lock;
    struct account_deletion *deletions; /* under lock */
};

void accounts_init(struct accounts *a, struct store_ops *ops, const struct gw_keyring *keys,
                   struct gw_sealer *sealer, uint32_t iterations);
void accounts_close(struct accounts *a);

/* A fresh account: identity key and time, no login keys yet. */
void account_init(struct gw_account *out);
/* Login keys of every mechanism from a password, with fresh salts. Costs milliseconds. */
int accounts_derive(struct accounts *a, struct gw_account *account, const struct password *p);
void account_wipe(struct gw_account *account);

/* 0 and *version; -ENOENT; -EBADMSG when it cannot be opened (*version is set); or the store's error. */
int accounts_read(struct accounts *a, struct gw_bytes jid, struct gw_account *out,
                  uint64_t *version);
/* Into out (ACCOUNT_SEALED_BYTES_MAX); returns the length. For writes of the caller's own. */
size_t accounts_seal(struct accounts *a, struct gw_bytes jid, const struct gw_account *account,
                     uint8_t *out);
/* Opens in place. 0 or -EBADMSG. */
int accounts_open_sealed(struct accounts *a, struct gw_bytes jid, uint8_t *sealed, size_t len,
                         struct gw_account *out);
/* expect 0: must not exist. -EEXIST, -ESTALE, or the store's error. */
int accounts_write(struct accounts *a, struct gw_bytes jid, const struct gw_account *account,
                   uint64_t expect);

/* Any thread: reserve the name for deletion, from now until accounts_delete_forget. False: it is
 * being deleted already. */
bool accounts_delete_reserve(struct accounts *a, struct account_deletion *d);
void accounts_delete_forget(struct accounts *a, struct account_deletion *d);
bool accounts_is_being_deleted(struct accounts *a, struct gw_bytes jid);
/* What was deleted leaves the disk later, all of it at once: until then a note says so. Job thread.
 * 0 and the note's version; -ENOENT: nothing is to be erased. */
int accounts_erasure_noted(struct accounts *a, uint64_t *version);
/* What the note of this version stood for is gone. -ESTALE: there is more by now. */
int accounts_erasure_done(struct accounts *a, uint64_t version);
/* Job thread. -ENOENT when there is none. */
int accounts_delete_begin(struct accounts *a, struct account_deletion *d);
int accounts_delete_end(struct accounts *a, struct account_deletion *d);
/* Job thread, before anything else: finish what a process that died had begun. Returns how many or a
 * negative errno. */
int accounts_delete_resume(struct accounts *a);

#endif
