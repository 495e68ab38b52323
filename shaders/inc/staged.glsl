// Tile of the staged products, for devices with real shared memory. A workgroup of 128 lanes has 64 rows and 64 columns of y; a lane has
// four adjacent rows of two vec4 of columns. Sixteen depths at a time of x and w pass through shared memory, turned so that a vec4
// there holds four rows of one depth.
layout(local_size_x = 128) in;
const uint TILE = 64, DEPTH = 16, PITCH = TILE / 4 + 1;  // PITCH: vec4 from one depth to the next, odd against bank conflicts

layout(binding = 0) readonly buffer X4 { T4 x4[]; };
layout(binding = 1) readonly buffer W4 { T4 w4[]; };  // [n, k]

shared vec4 x_tile[DEPTH * PITCH];
shared vec4 w_tile[DEPTH * PITCH];

vec4 acc[8];   // [row of the lane][half of the columns]
uint row[2];   // x4 index of the first column of the rows this lane brings
bool live[2];  // false: the row is all zeros
uint col[2];   // w4 index of the first depth of the columns it brings

uint tile_row() { return (gl_WorkGroupID.z * 32768 + gl_WorkGroupID.y) * TILE; }
uint tile_column() { return gl_WorkGroupID.x * TILE; }
uint brought(uint i) { return gl_LocalInvocationIndex / 4 + i * 32; }  // row and column in the tile
uint lane_row() { return gl_LocalInvocationIndex / 8 * 4; }
uint lane_column() { return gl_LocalInvocationIndex % 8 * 4; }

void clear()
{
    [[unroll]] for (uint i = 0; i < 8; i++)
        acc[i] = vec4(0.0);
}

// Adds the products of 4 * quads depths from depth 4 * w_quad of w on.
void accumulate(uint w_quad, uint quads)
{
    const uint lane_quad = gl_LocalInvocationIndex % 4;
    for (uint k = 0; k < quads; k += DEPTH / 4) {
        barrier();
        if (k + lane_quad < quads)
            [[unroll]] for (uint i = 0; i < 2; i++) {
                const vec4 xv = live[i] ? vec4(x4[row[i] + k + lane_quad]) : vec4(0.0);
                const vec4 wv = vec4(w4[col[i] + w_quad + k + lane_quad]);
                const uint at = lane_quad * 4 * PITCH + brought(i) / 4, part = brought(i) % 4;
                [[unroll]] for (uint d = 0; d < 4; d++) {
                    x_tile[at + d * PITCH][part] = xv[d];
                    w_tile[at + d * PITCH][part] = wv[d];
                }
            }
        barrier();
        for (uint d = 0; d < min(DEPTH, (quads - k) * 4); d++) {
            const vec4 xv = x_tile[d * PITCH + lane_row() / 4];
            const vec4 w0 = w_tile[d * PITCH + lane_column() / 4], w1 = w_tile[d * PITCH + lane_column() / 4 + 8];
            [[unroll]] for (uint i = 0; i < 4; i++) {
                acc[2 * i] = fma(vec4(xv[i]), w0, acc[2 * i]);
                acc[2 * i + 1] = fma(vec4(xv[i]), w1, acc[2 * i + 1]);
            }
        }
    }
}

vec4 result(uint i)
{
    vec4 v = acc[0];
    [[unroll]] for (uint j = 1; j < 8; j++)
        v = mix(v, acc[j], bvec4(i == j));
    return v;
}
