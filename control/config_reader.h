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
    bool port_unread; /* a setting of the group "port" could not be read */
};

/* Its line in the file by its name, 0 when the file does not have it. */
unsigned setting_line(const struct config_reader *r, const char *name);

/* After all settings have been read: fills in what depends on the machine, reports what does not fit. */
void config_check(struct config_reader *r);
void config_check_net(struct config_reader *r);

#endif
