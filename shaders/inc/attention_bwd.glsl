// What the backward attention kernels share. A lane has one row (a query, or a key) of a head and walks over the rows of the other side,
// BLOCK at a time, whose addresses are uniform over the workgroup; of its own result it has CV vectors, and the parts of wide heads are
// shared out over workgroups, each of which computes the probabilities anew.
//
// TALL devices keep the lane's own rows in registers (CACHED); others load them again for every block.
layout(local_size_x = 32) in;
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint WG = 32;
layout(constant_id = 1) const uint VECTORS = 8;
layout(constant_id = 3) const uint CACHED = 0;
const uint BLOCK = 4;
const uint CV = VECTORS < H4 ? VECTORS : H4;
const uint KEPT = CACHED != 0 && H4 <= 40 ? H4 : 1;  // vectors of a row in registers

uint parts() { return (H4 + CV - 1) / CV; }
