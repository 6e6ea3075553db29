/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_CONTROL_JSON_WIPE_H
#define GW_CONTROL_JSON_WIPE_H

/* From now on jansson wipes all memory that it frees: requests hold passwords. Before its first use. */
void json_wipe_on_free(void);
/* For strings of json_dumps. */
void json_wipe_free(void *p);

#endif
