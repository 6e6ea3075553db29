/* SPDX-License-Identifier: Apache-2.0 */
/* What godwitd does to a store that no broker runs on, then ends: backups, restore, verification. */
#ifndef GW_CONTROL_OFFLINE_H
#define GW_CONTROL_OFFLINE_H

#include "../storage/store.h"
#include "config.h"

/* A store that no broker runs on, opened as one would open it after a crash. */
struct offline_store {
    struct gw_keyring *keys;
    struct gw_store *store;
};

/* The one at `path`, with what the configuration says of its engine and keys. 0, or negative errno and
 * a message; offline_close in either case. */
int offline_open(struct offline_store *s, const struct gw_config *c, const char *path,
                 unsigned client_count, char err[256]);
void offline_close(struct offline_store *s);

/* Exit statuses: 0; 1 with a message on standard error; 4: something does not open. */

/* A line on standard output for each backup: number, time, bytes. */
int offline_list_backups(const struct gw_config *c);
/* A backup (0: the newest) becomes the configured store, which must be absent or empty. */
int offline_restore(const struct gw_config *c, uint32_t id);
/* Opens every record of the configured store; what does not open is listed on standard output. */
int offline_verify_store(const struct gw_config *c);
/* The same of a backup (0: the newest), which is restored beside the store for it and removed. */
int offline_verify_backup(const struct gw_config *c, uint32_t id);

#endif
