// Register tile of the direct products, without shared memory. A workgroup has TM rows and 4 columns per lane of y; a lane has all
// TM rows of one vec4 of columns. For every four depths it loads a vec4 of each of its columns of w, and a vec4 of each row of x at
// an address uniform over the workgroup, which costs a software driver one load instead of one per lane.
// W_BY_DEPTH (gradients): w is [depths, columns], not [columns, depths].
layout(local_size_x = 8) in;
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint TM = 20;

#if BL_F16  // read as two words, not as four halves: a third faster where every scalar of a load costs
#define QUAD uvec2
vec4 widen(uvec2 v) { return vec4(unpackHalf2x16(v.x), unpackHalf2x16(v.y)); }
#else
#define QUAD vec4
vec4 widen(vec4 v) { return v; }
#endif
layout(binding = 0) readonly buffer X4 { QUAD x4[]; };  // [rows, depths]
layout(binding = 1) readonly buffer W4 { QUAD w4[]; };
layout(binding = 1) readonly buffer W1 { T w1[]; };

vec4 acc[TM];
uint row[TM];   // x4 index of the first column of row i
bool live[TM];  // false: row i is all zeros; read by accumulate(.., true)

// First row and column of this lane. Workgroups side by side share what lies in far pieces: rows of x, but columns of w by depth.
#ifdef W_BY_DEPTH
const uint ACROSS = 1, DOWN = 0;
#else
const uint ACROSS = 0, DOWN = 1;
#endif
uint tile_row() { return (gl_WorkGroupID.z * 32768 + gl_WorkGroupID[DOWN]) * TM; }
uint lane_column() { return (gl_WorkGroupID[ACROSS] * gl_WorkGroupSize.x + gl_LocalInvocationID.x) * 4; }

void clear()
{
    [[unroll]] for (uint i = 0; i < TM; i++)
        acc[i] = vec4(0.0);
}

// Weights of depths 4 * k on: [depth][column]. w_at, w_step: w4 index of the lane's first column and first depth, and from a row of w to
// the next.
#ifdef W_BY_DEPTH
mat4 weights(uint w_at, uint w_step, uint k)
{
    const uint at = w_at + 4 * k * w_step;
#if BL_F16
    return mat4(widen(w4[at]), widen(w4[at + w_step]), widen(w4[at + 2 * w_step]), widen(w4[at + 3 * w_step]));
#else  // the rows are far apart in memory: column by column, so that their misses overlap (1.3 times as fast)
    mat4 c;
    [[unroll]] for (uint i = 0; i < 4; i++)
        [[unroll]] for (uint d = 0; d < 4; d++)
            c[d][i] = w1[(at + d * w_step) * 4 + i];
    return c;
#endif
}
#else
mat4 weights(uint w_at, uint w_step, uint k)
{
    return transpose(mat4(widen(w4[w_at + k]), widen(w4[w_at + w_step + k]), widen(w4[w_at + 2 * w_step + k]),
                          widen(w4[w_at + 3 * w_step + k])));
}
#endif

// Adds the products of 4 * quads depths. The loads come before the sums, in this order: interleaved, Mesa's software driver takes 1.6
// times as long.
void accumulate(uint w_at, uint w_step, uint quads, const bool masked)
{
    for (uint k = 0; k < quads; k++) {
        const mat4 c = weights(w_at, w_step, k);
        vec4 v[TM];
        [[unroll]] for (uint i = 0; i < TM; i++)
            v[i] = masked ? mix(vec4(0.0), widen(x4[row[i] + k]), bvec4(live[i])) : widen(x4[row[i] + k]);
        [[unroll]] for (uint i = 0; i < TM; i++) {
            acc[i] = fma(vec4(v[i].x), c[0], acc[i]);
            acc[i] = fma(vec4(v[i].y), c[1], acc[i]);
            acc[i] = fma(vec4(v[i].z), c[2], acc[i]);
            acc[i] = fma(vec4(v[i].w), c[3], acc[i]);
        }
    }
}

// Row i of the tile, i uniform: the epilogue is one loop, not TM copies for the driver to compile.
vec4 result(uint i)
{
    vec4 v = acc[0];
    [[unroll]] for (uint j = 1; j < TM; j++)
        v = mix(v, acc[j], bvec4(i == j));
    return v;
}
