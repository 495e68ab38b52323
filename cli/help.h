/* What is made of the tables of options besides parsing: help texts and manual pages. Layer 6. */
#ifndef CLI_HELP_H
#define CLI_HELP_H
#include "options.h"

/* What blemish is, and every command in a line. */
void help_overview(FILE *out);
/* How one command is used, at most 79 columns wide. */
void help_command(const command *c, FILE *out);
/* The same as manual pages, man(7): blemish(1) and blemish-NAME(1). */
void help_man_overview(FILE *out);
void help_man_command(const command *c, FILE *out);
#endif
