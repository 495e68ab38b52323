// Shared-memory tile of the staged products. A workgroup has ROWS rows and COLS columns of y, twice as many rows as columns; a lane has
// four adjacent rows of HALVES vec4 of columns, ACROSS lanes apart. DEPTH depths at a time of x and w pass through shared memory, turned so
// that a vec4 there holds four rows of one depth. All lanes bring equally much: a vec4 of two rows of x and one of w.
// W_BY_DEPTH (gradients): w is [depths, columns], not [columns, depths].
layout(local_size_x = 256) in;
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint WG = 256;
layout(constant_id = 1) const uint ROWS = 128;
layout(constant_id = 2) const uint COLS = 64;
layout(constant_id = 3) const uint DEPTH = 16;  // 4 * WG / COLS
const uint QUADS = DEPTH / 4, ACROSS = 4 * WG / ROWS, HALVES = COLS / (4 * ACROSS);
const uint X_PITCH = ROWS / 4 + 1, W_PITCH = COLS / 4 + 1;  // vec4 from one depth to the next, odd against bank conflicts

layout(binding = 0) readonly buffer X4 { T4 x4[]; };  // [rows, depths]
layout(binding = 1) readonly buffer W4 { T4 w4[]; };

shared vec4 x_tile[DEPTH * X_PITCH];
shared vec4 w_tile[DEPTH * W_PITCH];

vec4 acc[4 * HALVES];  // [row of the lane][half of the columns]
const uint NOWHERE = 0xffffffffu;
uint row[2];           // x4 index of the first column of the rows this lane brings; NOWHERE: the row is all zeros
uint col;              // w4 index of the first depth of the column it brings; with W_BY_DEPTH, of the four columns

uint tile_row() { return (gl_WorkGroupID.z * 32768 + gl_WorkGroupID.y) * ROWS; }
uint tile_column() { return gl_WorkGroupID.x * COLS; }
uint brought_row(uint i) { return gl_LocalInvocationIndex / QUADS + i * COLS; }
#ifdef W_BY_DEPTH  // four columns of one depth of w
uint brought_column() { return gl_LocalInvocationIndex % (COLS / 4) * 4; }
uint brought_depth() { return gl_LocalInvocationIndex / (COLS / 4); }
#else              // four depths of one column
uint brought_column() { return gl_LocalInvocationIndex / QUADS; }
uint brought_depth() { return gl_LocalInvocationIndex % QUADS * 4; }
#endif
uint lane_row() { return gl_LocalInvocationIndex / ACROSS * 4; }
uint lane_column() { return gl_LocalInvocationIndex % ACROSS * 4; }

void clear()
{
    [[unroll]] for (uint i = 0; i < 4 * HALVES; i++)
        acc[i] = vec4(0.0);
}

// Adds the products of depth d of the tile.
void add_depth(uint d)
{
    const vec4 v = x_tile[d * X_PITCH + lane_row() / 4];
    [[unroll]] for (uint h = 0; h < HALVES; h++) {
        const vec4 w = w_tile[d * W_PITCH + lane_column() / 4 + ACROSS * h];
        [[unroll]] for (uint i = 0; i < 4; i++)
            acc[HALVES * i + h] = fma(vec4(v[i]), w, acc[HALVES * i + h]);
    }
}

// Brings the lane's part of w for depths 4 * k on.
void bring_w(uint w_at, uint k, uint quads)
{
#ifdef W_BY_DEPTH
    if (k + brought_depth() / 4 < quads)
        w_tile[brought_depth() * W_PITCH + brought_column() / 4] = vec4(w4[col + w_at + (4 * k + brought_depth()) * (p.w.stride / 4)]);
#else
    const uint lane_quad = brought_depth() / 4, at = brought_depth() * W_PITCH + brought_column() / 4;
    if (k + lane_quad < quads) {
        const vec4 v = vec4(w4[col + w_at + k + lane_quad]);
        [[unroll]] for (uint d = 0; d < 4; d++)
            w_tile[at + d * W_PITCH][brought_column() % 4] = v[d];
    }
#endif
}

// Adds the products of the next DEPTH of 4 * quads depths, from 4 * k on; w_at: what the tap adds to w4 indices.
void accumulate(uint w_at, uint k, uint quads)
{
    const uint lane_quad = gl_LocalInvocationIndex % QUADS;
    barrier();
    if (k + lane_quad < quads) {
        [[unroll]] for (uint i = 0; i < 2; i++) {
            const vec4 v = row[i] != NOWHERE ? vec4(x4[row[i] + k + lane_quad]) : vec4(0.0);
            const uint at = lane_quad * 4 * X_PITCH + brought_row(i) / 4;
            [[unroll]] for (uint d = 0; d < 4; d++)
                x_tile[at + d * X_PITCH][brought_row(i) % 4] = v[d];
        }
    }
    bring_w(w_at, k, quads);
    barrier();
    const uint depths = min(DEPTH, (quads - k) * 4);
    if (DEPTH < 16)  // small tiles are for devices with few registers: unrolled, PowerVR spills 48
        [[dont_unroll]] for (uint d = 0; d < depths; d++)
            add_depth(d);
    else
        for (uint d = 0; d < depths; d++)
            add_depth(d);
}

// Vector i of the lane, its row and its first column in the tile.
vec4 result(uint i)
{
    vec4 v = acc[0];
    [[unroll]] for (uint j = 1; j < 4 * HALVES; j++)
        v = mix(v, acc[j], bvec4(i == j));
    return v;
}
uint result_row(uint i) { return lane_row() + i / HALVES; }
uint result_column(uint i) { return lane_column() + i % HALVES * 4 * ACROSS; }
