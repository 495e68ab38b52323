// Mapping of the kernels on attention maps: a lane has one row of the operand that is counted, and adds up its columns in order. Maps are
// small, some hundred rows of 77 columns, and there are a few of them in a step.
layout(local_size_x = 32) in;
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint WG = 32;

#define AT(x, r, c) (p.x.off + (r) * p.x.stride + (c))

uint lane() { return (gl_WorkGroupID.y * 32768 + gl_WorkGroupID.x) * WG + gl_LocalInvocationIndex; }
