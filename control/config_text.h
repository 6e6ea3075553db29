/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_CONTROL_CONFIG_TEXT_H
#define GW_CONTROL_CONFIG_TEXT_H

#include <stdio.h>

#include "config_report.h"

/*
 * The whole of a configuration file for libconfig's parser, with every integer marked as a 64-bit
 * one: the parser would cut an unmarked number to 32 bits without a word. What it could not report
 * itself (a number too large for 64 bits, @include, a NUL byte, a file that is no configuration) goes
 * into the report. NULL when the file cannot be used at all. The caller frees it.
 */
char *config_text_read(FILE *f, struct config_report *report);

#endif
