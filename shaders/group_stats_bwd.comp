#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "inc/types.glsl"
#include "inc/params.h"
#define SUBGROUP 0
#include "inc/reduce.glsl"
#include "inc/group_stats_bwd.glsl"
