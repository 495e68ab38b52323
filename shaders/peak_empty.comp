#version 450

// Does nothing: what a dispatch costs.

layout(local_size_x = 1) in;
layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push { uint n; };
layout(binding = 0) readonly buffer X { float x[]; };
layout(binding = 1) writeonly buffer Y { float y[]; };

void main()
{
    if (n == 0xffffffffu)
        y[0] = x[0];
}
