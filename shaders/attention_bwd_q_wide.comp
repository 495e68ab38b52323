#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
// y = softmax(scale * q k^T) v per image and head: the gradient of q.
#define KV 0
#include "inc/types.glsl"
#include "inc/params.h"
#include "inc/attention.glsl"
#include "inc/attention_bwd.glsl"
#include "inc/attention_bwd_wide.glsl"
