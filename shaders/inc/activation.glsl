// Activations of epilogues and of activation_fwd, in fp32. Finite for every finite input; relative error about 1e-6.

// The bound keeps exp() and the quotient inside the range in which Vulkan promises accuracy; below -80 a sigmoid is 0 in every type.
float sigmoid(float v) { return 1.0 / (1.0 + exp(min(-v, 80.0))); }

// Phi(v), the normal distribution function. With a = |v| the tail is Phi(-a) = exp(-a^2 / 2) P(t), t = 1 / (1 + 11 a / 32): P, a
// polynomial fitted to least relative error (2.3e-8) on 0 <= a <= 14, replaces the scaled erfc, so nothing cancels on either side.
float normal_cdf(float v)
{
    const float a = min(abs(v), 14.0);
    const float t = 1.0 / fma(0.34375, a, 1.0);
    float s = -0.027809377759695053;
    s = fma(s, t, 0.14384938776493073);
    s = fma(s, t, -0.2717145085334778);
    s = fma(s, t, 0.19092155992984772);
    s = fma(s, t, -0.03930756077170372);
    s = fma(s, t, 0.11265814304351807);
    s = fma(s, t, 0.11674042046070099);
    s = fma(s, t, 0.13754227757453918);
    s = fma(s, t, 0.13711966574192047);
    const float tail = s * t * exp(-0.5 * a * a);
    return v < 0.0 ? tail : 1.0 - tail;
}

float activate(float v, uint act)
{
    precise float y = v;  // the product is not to be fused with a sum of the caller
    if (act == ACT_SILU)
        y = v * sigmoid(v);
    else if (act == ACT_GELU)
        y = v * normal_cdf(v);
    else if (act == ACT_QUICK_GELU)
        y = v * sigmoid(1.702 * v);
    return y;
}

vec4 activate(vec4 v, uint act)
{
    return vec4(activate(v.x, act), activate(v.y, act), activate(v.z, act), activate(v.w, act));
}
