/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a broker whose clients have all gone has given back all that it took: every index, credit,
 * block and slot. */
#ifndef SIM_LEAKS_H
#define SIM_LEAKS_H

#include "broker.h"

/* NULL, or what is still used. */
const char *leaks_find(const struct broker *b);
/* The same of its store: no message waits anywhere. */
const char *leaks_find_stored(struct broker *b);

#endif
