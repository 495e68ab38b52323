// T is the storage type of the variant, T4 four of it; every kernel computes in fp32.
#if BL_F16
#extension GL_EXT_shader_16bit_storage : require
#define T float16_t
#define T4 f16vec4
#else
#define T float
#define T4 vec4
#endif
