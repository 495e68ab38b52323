/* Layers with their parameters, by the names that diffusers and transformers give them. Layer 4. */
#ifndef BL_LAYERS_H
#define BL_LAYERS_H
#include "weights.h"

/* A network under construction. */
typedef struct bl_net {
    bl_graph *g;
    bl_weights *w;
} bl_net;

/* Every layer reads "<name>.weight" and "<name>.bias"; `name` is printf-like. Failures are kept in the graph. */

/* x [n,h,w,in] -> [n,h,w,out]. */
bl_value bl_net_linear(const bl_net *net, bl_value x, uint32_t out, bool bias, const char *name, ...) BL_PRINTF(5, 6);
/* One product for up to 3 layers with the same input: [.., parts*out], the parts side by side. Names are "<prefix>.<parts[i]>". */
bl_value bl_net_linears(const bl_net *net, bl_value x, uint32_t out, bool bias, uint32_t parts, const char *const *names,
                        const char *prefix);
/* `in`: input channels as in the file; x has them rounded up to 4. */
bl_value bl_net_conv(const bl_net *net, bl_value x, uint32_t out, uint32_t in, uint32_t kernel, uint32_t stride, bool asymmetric,
                     const char *name, ...) BL_PRINTF(8, 9);
bl_value bl_net_group_norm(const bl_net *net, bl_value x, uint32_t groups, float eps, const char *name, ...) BL_PRINTF(5, 6);
bl_value bl_net_layer_norm(const bl_net *net, bl_value x, float eps, const char *name, ...) BL_PRINTF(4, 5);

/* Residual block of U-Net and VAE (He et al. 2016; Ho et al. 2020): norm, SiLU, conv, + time embedding, norm, SiLU, conv, + input.
 * emb: activated time embedding [1,1,1,e], BL_NONE in the VAE. The result is named `name`. */
bl_value bl_net_resnet(const bl_net *net, bl_value x, bl_value emb, uint32_t out, uint32_t groups, float eps, const char *name);
/* One layer of a CLIP tower, text or vision (Radford et al. 2021): x + attention(norm(x)), then + mlp(norm(..)); x
 * [n,tokens,1,channels]. */
typedef struct bl_clip_tower {
    uint32_t channels, intermediate, heads;
    uint32_t act;
    float eps;
    bool causal;
} bl_clip_tower;
bl_value bl_net_clip_layer(const bl_net *net, const bl_clip_tower *t, bl_value x, const char *prefix);
#endif
