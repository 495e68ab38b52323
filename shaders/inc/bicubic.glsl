// Bicubic taps (Keys 1981, a = -0.75), half-pixel centres, the border repeated: as torch's interpolate without antialiasing.
// Positions are kept as fractions of whole numbers, so that every device puts the taps on the same pixels.
const float A = -0.75;

// Factored, so that nothing cancels where a weight is small.
float near_tap(float t) { return (1.0 - t) * (1.0 + t - (A + 2.0) * t * t); }       // at a distance t, 0 <= t <= 1
float far_tap(float t) { return A * t * (1.0 - t) * (1.0 - t); }                    // at a distance 1 + t

// First of the four input pixels (before the border is repeated) that output o of `outputs` reads, and their weights. The output lies
// at (o + 1/2) inputs / outputs - 1/2, t behind the second of them.
int taps(uint o, uint inputs, uint outputs, out vec4 w)
{
    const uint whole = 2 * outputs, at = (2 * o + 1) * inputs + outputs; // the position + 1, times `whole`
    const float t = float(at % whole) / float(whole);
    w = vec4(far_tap(t), near_tap(t), near_tap(1.0 - t), far_tap(1.0 - t));
    return int(at / whole) - 2;
}

// The first output whose second tap is input i or behind it.
uint output_from(int i, uint inputs, uint outputs) { return (uint(max(2 * i + 1, 0)) * outputs + inputs - 1) / (2 * inputs); }
