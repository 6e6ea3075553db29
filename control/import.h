/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The job that creates accounts from a file: many writes under way at once, which the store makes
 * durable together.
 */
#ifndef GW_CONTROL_IMPORT_H
#define GW_CONTROL_IMPORT_H

#include "accounts.h"
#include "config.h"
#include "jobs.h"

struct import;

extern const struct job_type import_job_type;

/* NULL with a constant message when fd is not a regular file; else fd is the import's. */
struct import *import_new(struct accounts *a, const struct gw_config *config, struct jobs *jobs, int fd,
                          bool replace, const char **err);

#endif
