/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deliberate mistakes, one at a time, by the build option `mutant`: to show that the tests and the
 * auditor would notice them; the forgetful ones in the simulation alone. In any other build each is
 * constant false. A mutant cannot be installed.
 */
#ifndef GW_STORAGE_MUTANT_H
#define GW_STORAGE_MUTANT_H

#define GW_MUTANT_none      0
#define GW_MUTANT_skip_sync 1  /* the log is not synced */
#define GW_MUTANT_early_ack 2  /* an append completes before it is written */
#define GW_MUTANT_swap_two  3  /* a mailbox is read with its first two messages in the wrong order \
                                */
#define GW_MUTANT_drop_spill 4 /* one message of each spill is not written */
#define GW_MUTANT_forget_repeats 5 /* after a start nothing is known of what was stored before */
#define GW_MUTANT_forget_counts 6 /* after a start a session's count is what its record says */
#define GW_MUTANT_forget_heirs 7 /* what a session leaves waits for the next log-in */

#ifndef GW_MUTANT
#define GW_MUTANT GW_MUTANT_none
#endif
#define GW_IS_MUTANT(name) (GW_MUTANT == GW_MUTANT_##name)

#endif
