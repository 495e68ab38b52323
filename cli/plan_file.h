/* Plans of kernel choices, from files and from pictures. Layer 6. */
#ifndef CLI_PLAN_FILE_H
#define CLI_PLAN_FILE_H
#include "session.h"

/* The plan in a file that 'tune --out' wrote, or the one that a picture was made with, as bl_context_options.plan takes it; freed by
 * free. NULL in *out: the picture was made with the kernels' own table. The reason of a failure is noted in the session. */
bl_result plan_file_read(session *s, const char *path, char **out);
#endif
