/* SPDX-License-Identifier: Apache-2.0 */
/* What config.c and config_check.c share while a file is being read. */
#ifndef GW_CONTROL_CONFIG_READER_H
#define GW_CONTROL_CONFIG_READER_H

#include "config_report.h"
#include "config_table.h"

struct config_reader {
    struct gw_config *config;
    struct config_report report;
    unsigned *lines; /* of each setting; 0 when the file does not have it */
};

/* By name, in one group or (group NULL) in any; NULL when there is none. */
const struct setting *setting_find(const char *group, const char *name);

/* After all settings have been read: fills in what depends on the machine, reports what does not fit. */
void config_check(struct config_reader *r);

#endif
