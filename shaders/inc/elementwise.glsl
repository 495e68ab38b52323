// Mapping of the kernels that compute every element on its own: a lane has WIDTH adjacent columns (a vec4; one where a view is not
// aligned to four) of ROWS consecutive rows, so that what belongs to a column is read once and adjacent lanes touch adjacent memory.
layout(local_size_x = 64) in;
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint WG = 64;
layout(constant_id = 1) const uint ROWS = 8;
layout(constant_id = 2) const uint WIDTH = 4;

#define F float
#define F4 vec4
#define AT(x, r, c) (p.x.off + (r) * p.x.stride + (c))

// Operand x at binding n, of type T (storage) or F (fp32): get_x and set_x take WIDTH columns from (r, c) on. A single one is in
// every component of a vector read and is taken from the first component of a vector written.
#define READ(n, type, x) \
    layout(binding = n) readonly buffer x##_scalars { type x[]; }; \
    layout(binding = n) readonly buffer x##_vectors { type##4 x##4[]; }; \
    vec4 get_##x(uint row, uint col) { return WIDTH == 4 ? vec4(x##4[AT(x, row, col) / 4]) : vec4(x[AT(x, row, col)]); }
#define WRITE(n, type, x) \
    layout(binding = n) writeonly buffer x##_scalars { type x[]; }; \
    layout(binding = n) writeonly buffer x##_vectors { type##4 x##4[]; }; \
    void set_##x(uint row, uint col, vec4 v) \
    { if (WIDTH == 4) x##4[AT(x, row, col) / 4] = type##4(v); else x[AT(x, row, col)] = type(v[0]); }

struct span {
    uint row, end;  // rows row .. end - 1
    uint col;       // first column
};

uint lane() { return (gl_WorkGroupID.y * 32768 + gl_WorkGroupID.x) * WG + gl_LocalInvocationIndex; }

// The part of this lane of a matrix; empty behind the last.
span lane_span(uint rows, uint channels)
{
    const uint units = channels / WIDTH, block = lane() / units;
    return span(block * ROWS, min(block * ROWS + ROWS, rows), (lane() - block * units) * WIDTH);
}
