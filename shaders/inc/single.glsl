// Tile of the products of any size and alignment: single elements, no vec4. A workgroup has TM rows and 4 columns of y; a lane has every
// WG-th of the rows.
layout(local_size_x = 8) in;
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint WG = 8;
layout(constant_id = 1) const uint TM = 16;  // a multiple of WG
const uint ROWS = TM / WG;

layout(binding = 0) readonly buffer X { T x[]; };  // [rows, depths]
layout(binding = 1) readonly buffer W { T w[]; };  // [columns, depths]; in a gradient [depths, columns]

vec4 acc[ROWS];
uint row[ROWS];   // x index of the first column of the lane's row i
bool live[ROWS];  // false: the row is all zeros

uint tile_row() { return (gl_WorkGroupID.z * 32768 + gl_WorkGroupID.y) * TM; }
uint lane_row(uint i) { return tile_row() + i * WG + gl_LocalInvocationID.x; }
uint tile_column() { return gl_WorkGroupID.x * 4; }

void clear()
{
    [[unroll]] for (uint i = 0; i < ROWS; i++)
        acc[i] = vec4(0.0);
}

// Adds the products of `count` depths; w_at: w index of the first depth in each of the four columns, w_step: to the next depth.
void accumulate(uvec4 w_at, uint w_step, uint count)
{
    for (uint k = 0; k < count; k++) {
        const uvec4 at = w_at + k * w_step;
        const vec4 c = vec4(w[at.x], w[at.y], w[at.z], w[at.w]);
        [[unroll]] for (uint i = 0; i < ROWS; i++)
            acc[i] = fma(vec4(live[i] ? float(x[row[i] + k]) : 0.0), c, acc[i]);
    }
}
