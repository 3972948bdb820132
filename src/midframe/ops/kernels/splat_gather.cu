// Splatting by gathering: each target adds up the sources of the four cells around it.
//
//   MODE    1 avg, 2 linear, 3 soft, 0 sum
//   SORTED  0: linked lists, in no fixed order; 1: ranges of sorted sources, in a fixed order
//   CHUNK   the most channels of a thread
// One thread for a target pixel and `size` <= CHUNK channels from blockIdx.y * size on, summed in
// registers and written once, divided. The four lists are walked side by side, so that a round's
// loads wait for memory together; on smooth motion there are one or two rounds. In mode soft the
// shift is 0 unless a metric above 64 reaches the target: only then it walks a second time.
#define CORNERS 4
// blocks that fit on a multiprocessor at once: up to 64 registers, or 128, or all
#define BYTES (sizeof(REAL) + sizeof(INDEX))
#define BLOCKS (BYTES == 8 ? 8 : BYTES == 12 ? 4 : 2)

extern "C" __global__ void __launch_bounds__(128, BLOCKS) splat_gather(
    const SCALAR* __restrict__ input, const REAL* __restrict__ flow,
    const REAL* __restrict__ metric,
#if SORTED
    const INDEX* __restrict__ starts, const long long* __restrict__ order,
#else
    const int* __restrict__ head, const int* __restrict__ next,
#endif
    SCALAR* __restrict__ output, REAL* __restrict__ weight, REAL* __restrict__ shift,
    long long channels_, long long height_, long long width_, long long pixels_,
    long long size_, long long normalize) {
    const INDEX channels = (INDEX)channels_, height = (INDEX)height_, width = (INDEX)width_;
    const INDEX pixels = (INDEX)pixels_, plane = height * width;
    const INDEX p = (INDEX)blockIdx.x * (INDEX)blockDim.x + (INDEX)threadIdx.x;
    if (p >= pixels) return;
    const INDEX image = p / plane, q = p - image * plane, y = q / width, x = q - y * width;
    const INDEX first = (INDEX)blockIdx.y * (INDEX)size_;
    const int count = (int)(channels - first < (INDEX)size_ ? channels - first : (INDEX)size_);
    const SCALAR* const planes = input + (image * channels + first) * plane;
    const REAL* const motion = flow + 2 * image * plane;

    REAL total[CHUNK], sum, lowered = (REAL)0;
    for (int pass = 0; pass < 2; ++pass) {
        REAL top = (REAL)0;
        sum = (REAL)0;
#pragma unroll
        for (int c = 0; c < CHUNK; ++c) total[c] = (REAL)0;

        // corner k of a source whose cell's north-west pixel is (x - k % 2, y - k / 2)
#if SORTED
        INDEX at[CORNERS], end[CORNERS];
#else
        int at[CORNERS];
#endif
#pragma unroll
        for (int k = 0; k < CORNERS; ++k) {
            const INDEX cell =
                (image * (height + 1) + y + 1 - (k >> 1)) * (width + 1) + x + 1 - (k & 1);
#if SORTED
            at[k] = starts[cell];
            end[k] = starts[cell + 1];
#else
            at[k] = head[cell];
#endif
        }
        for (;;) {
            INDEX source[CORNERS];  // -1 where its list has ended
            REAL share[CORNERS];
            bool more = false;
#pragma unroll
            for (int k = 0; k < CORNERS; ++k) {
                source[k] = (INDEX)-1;
                share[k] = (REAL)0;
#if SORTED
                if (at[k] >= end[k]) continue;
                const INDEX s = (INDEX)(order[at[k]++] - (long long)image * plane);
                const INDEX row = s / width, column = s - row * width;
#else
                if (at[k] < 0) continue;
                const INDEX row = at[k] >> 16, column = at[k] & 0xffff;
                const INDEX s = row * width + column;
                at[k] = next[image * plane + s];
#endif
                more = true;
                source[k] = s;
                const Landing to = land(motion + s, plane, row, column, height, width);
                REAL part = (k & 1 ? to.east : to.west) * (k >> 1 ? to.south : to.north);
#if MODE == 2
                part *= metric[image * plane + s];
#elif MODE == 3
                const REAL own = metric[image * plane + s];
                if (part > (REAL)0 && own > top) top = own;
                part *= softmax_share(own, lowered);
#endif
                share[k] = part;
                sum += part;
            }
            if (!more) break;
#pragma unroll
            for (int c = 0; c < CHUNK; ++c) {
                if (c >= count) break;
                const SCALAR* const values = planes + c * plane;
#pragma unroll
                for (int k = 0; k < CORNERS; ++k) {
                    if (source[k] >= 0) total[c] += share[k] * load(values + source[k]);
                }
            }
        }
        if (!(top - (REAL)64 > lowered)) break;
        lowered = top - (REAL)64;
    }

    REAL by = (REAL)1;
#if MODE != 0
    REAL slope;
    by = divisor(sum, lowered, (int)normalize, &slope);
    if (blockIdx.y == 0) {
        weight[p] = sum;
#if MODE == 3
        shift[p] = lowered;
#endif
    }
#endif
    SCALAR* const into = output + (image * channels + first) * plane + q;
#pragma unroll
    for (int c = 0; c < CHUNK; ++c) {
        if (c < count) store(into + c * plane, MODE == 0 ? total[c] : total[c] / by);
    }
}
