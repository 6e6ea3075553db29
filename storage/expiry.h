/* SPDX-License-Identifier: Apache-2.0 */
/* Finding what is too old. Storage thread. */
#ifndef GW_STORAGE_EXPIRY_H
#define GW_STORAGE_EXPIRY_H

#include "store.h"

void expiry_some(struct gw_store *s, const struct gw_store_request *r,
                 struct gw_store_completion *done);

#endif
