// The groups of WIDTH channels from c on: four channels may be in four groups. The half keeps the quotient off the integers, so its
// rounding does no harm; fewer than 2^20 channels.
uvec4 groups_of(uint c, uint per)
{
    return uvec4((float(c) + (WIDTH == 4 ? vec4(0.5, 1.5, 2.5, 3.5) : vec4(0.5))) / float(per));
}
