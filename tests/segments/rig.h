/* SPDX-License-Identifier: Apache-2.0 */
/* One stack of libgodwit-tcp.so, its user and its peer, as a script moves them. */
#ifndef SEGMENTS_RIG_H
#define SEGMENTS_RIG_H

#include "godwit_tcp.h"
#include "line.h"

/* The calls of the shared object that are used, by name. */
#define RIG_CALLS(X)                                                                               \
    X(interface) X(open) X(close) X(add_address) X(set_time) X(push) X(run) X(next_us) X(listen)    \
    X(connect) X(send) X(recv) X(shutdown) X(abort) X(set_nodelay) X(set_keepalive) X(lookup)       \
    X(usage) X(counter) X(state_name)

struct rig_calls {
#define X(name) __typeof__(&gw_stack_##name) name;
    RIG_CALLS(X)
#undef X
};

struct rig;

struct rig *rig_open(const struct rig_calls *calls, const struct gw_stack_config *cfg, bool v6);
/* Runs one line. False when what happened is not what it says: see rig_failure. */
bool rig_run(struct rig *r, const struct line *l);
/* Whether all that has happened was in the script. */
bool rig_finish(struct rig *r);
/* Ends what is open, lets all timers pass, and sees whether anything is left behind. */
bool rig_is_clean(struct rig *r);
const char *rig_failure(const struct rig *r);
void rig_close(struct rig **r);

#endif
