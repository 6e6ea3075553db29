/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_CONTROL_GUESS_H
#define GW_CONTROL_GUESS_H

/* The one of name(0) .. name(count - 1) that `wrong` was probably meant to be, or NULL. */
const char *guess_name(const char *wrong, const char *(*name)(unsigned i), unsigned count);

#endif
