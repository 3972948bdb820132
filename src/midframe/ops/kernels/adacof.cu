// AdaCoF: each pixel sums SIDE * SIDE taps of an image at offsets of its own. The image is packed
// into groups of four channels, so that one load brings a corner; offsets and weights stream past.
//
//   SIDE  k, or 0 where it is an argument
//   MANY  1 for more than four channels

constexpr int ROW = SIDE ? SIDE : 1;  // taps whose offsets are loaded together

// Blocks that a multiprocessor holds: as many registers for loads under way as spill none.
constexpr bool HEAVY = sizeof(REAL) == 8 || sizeof(INDEX) == 8;
constexpr int RESIDENT = HEAVY ? 2 : 4;
constexpr int RESIDENT_BACKWARD = HEAVY ? 2 : 3;

typedef quad<REAL> four;
typedef quad<SCALAR> packed_four;  // a pixel of the packed image

__device__ __forceinline__ four unpacked(const packed_four& from) {
    four values;
    #pragma unroll
    for (int c = 0; c < 4; ++c) values.at[c] = load(&from.at[c]);
    return values;
}

__device__ __forceinline__ float stream(const float* p) { return __ldcs(p); }
__device__ __forceinline__ double stream(const double* p) { return __ldcs(p); }
template <class T> __device__ __forceinline__ REAL stream(const T* p) {
    T value;
    value.bits = __ldcs(&p->bits);
    return load(&value);
}
__device__ __forceinline__ void stream_to(float* p, float v) { __stcs(p, v); }
__device__ __forceinline__ void stream_to(double* p, double v) { __stcs(p, v); }
template <class T> __device__ __forceinline__ void stream_to(T* p, REAL v) {
    T value;
    store(&value, v);
    __stcs(&p->bits, value.bits);
}

__device__ __forceinline__ float cut(float v) { return truncf(v); }
__device__ __forceinline__ double cut(double v) { return trunc(v); }

// The whole part of an offset, toward zero and bounded so that it fits an index; 0 for a NaN.
__device__ __forceinline__ REAL whole_part(REAL v) {
    const REAL most = (REAL)16777216;
    return v != v ? (REAL)0 : cut(v > most ? most : v < -most ? -most : v);
}

__device__ __forceinline__ int clamped(int i, int size) {
    return i < 0 ? 0 : i >= size ? size - 1 : i;
}

// Where a tap reads: its corners within a plane of the image, and how far it is toward the later.
struct Tap {
    INDEX nw, ne, sw, se;
    REAL down, right;
};

__device__ __forceinline__ Tap tap_at(REAL alpha, REAL beta, int y, int x, int height, int width) {
    const REAL whole_y = whole_part(alpha), whole_x = whole_part(beta);
    const int top = y + (int)whole_y, left = x + (int)whole_x;
    const INDEX row0 = (INDEX)clamped(top, height) * width;
    const INDEX row1 = (INDEX)clamped(top + 1, height) * width;
    const int x0 = clamped(left, width), x1 = clamped(left + 1, width);
    return {row0 + x0, row0 + x1, row1 + x0, row1 + x1, alpha - whole_y, beta - whole_x};
}

// What every kernel over output pixels needs to know: a block is 32 x 8 of them.
struct Place {
    int y, x;
    INDEX n, group;   // image of the batch; group of four channels (or a tap)
    INDEX pixel, plane;
    bool inside;
};

__device__ __forceinline__ Place place(int height, int width, int groups) {
    const unsigned int across = (width + 31) / 32, down = (height + 7) / 8;
    unsigned int block = blockIdx.x;
    Place at;
    at.x = (int)(block % across) * 32 + (int)threadIdx.x;
    block /= across;
    at.y = (int)(block % down) * 8 + (int)threadIdx.y;
    block /= down;
    at.group = (INDEX)(block % groups);
    at.n = (INDEX)(block / groups);
    at.pixel = (INDEX)at.y * width + at.x;
    at.plane = (INDEX)height * width;
    at.inside = at.y < height && at.x < width;
    return at;
}

// planes (N, C, P) -> packed (N, ceil(C / 4), P, 4), zero beyond C
extern "C" __global__ void adacof_pack(
    const SCALAR* __restrict__ planes, packed_four* __restrict__ packed, long long channels_,
    long long plane_, long long count
) {
    const INDEX i = (INDEX)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= (INDEX)count) return;
    const INDEX plane = (INDEX)plane_, channels = (INDEX)channels_, groups = (channels + 3) / 4;
    const INDEX pixel = i % plane, group = i / plane % groups, n = i / plane / groups;
    const SCALAR* from = planes + (n * channels + 4 * group) * plane + pixel;
    packed_four values;
    #pragma unroll
    for (int k = 0; k < 4; ++k) {
        if (4 * group + k < channels) values.at[k] = from[k * plane];
        else store(&values.at[k], (REAL)0);
    }
    packed[i] = values;
}

// sums (N, ceil(C / 4), P, 4) -> planes (N, C, P)
extern "C" __global__ void adacof_unpack(
    const four* __restrict__ sums, SCALAR* __restrict__ planes, long long channels_,
    long long plane_, long long count
) {
    const INDEX i = (INDEX)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= (INDEX)count) return;
    const INDEX plane = (INDEX)plane_, channels = (INDEX)channels_, groups = (channels + 3) / 4;
    const INDEX pixel = i % plane, group = i / plane % groups, n = i / plane / groups;
    SCALAR* to = planes + (n * channels + 4 * group) * plane + pixel;
    const four values = sums[i];
    #pragma unroll
    for (int k = 0; k < 4; ++k) {
        if (4 * group + k < channels) store(to + k * plane, values.at[k]);
    }
}

// image (N, groups, image_height, image_width, 4); weight, alpha, beta (N, taps, height, width)
// -> out (N, C, height, width)
extern "C" __global__ void __launch_bounds__(256, RESIDENT) adacof(
    const packed_four* __restrict__ image, const SCALAR* __restrict__ weight,
    const SCALAR* __restrict__ alpha, const SCALAR* __restrict__ beta, SCALAR* __restrict__ out,
    long long channels_, long long height, long long width, long long image_height_,
    long long image_width_, long long side_, long long dilation_
) {
    const int image_height = (int)image_height_, image_width = (int)image_width_;
    const int side = SIDE ? SIDE : (int)side_, dilation = (int)dilation_;
    const int channels = (int)channels_, groups = MANY ? (channels + 3) / 4 : 1;
    const Place at = place((int)height, (int)width, groups);
    if (!at.inside) return;
    const packed_four* source = image + (at.n * groups + at.group) * ((INDEX)image_height * image_width);
    INDEX next = at.n * side * side * at.plane + at.pixel;
    four sum = {};
    #pragma unroll 1
    for (int row = 0; row < side; ++row) {
        #pragma unroll 1
        for (int column = 0; column < side; column += ROW, next += ROW * at.plane) {
            REAL w[ROW], a[ROW], b[ROW];
            #pragma unroll
            for (int k = 0; k < ROW; ++k) {
                w[k] = stream(weight + next + k * at.plane);
                a[k] = stream(alpha + next + k * at.plane);
                b[k] = stream(beta + next + k * at.plane);
            }
            #pragma unroll
            for (int k = 0; k < ROW; ++k) {
                const Tap tap = tap_at(
                    a[k], b[k], at.y + row * dilation, at.x + (column + k) * dilation, image_height,
                    image_width
                );
                const REAL south = w[k] * tap.down, north = w[k] * (1 - tap.down);
                const REAL nw = north * (1 - tap.right), ne = north * tap.right;
                const REAL sw = south * (1 - tap.right), se = south * tap.right;
                const four p = unpacked(source[tap.nw]), q = unpacked(source[tap.ne]);
                const four r = unpacked(source[tap.sw]), s = unpacked(source[tap.se]);
                #pragma unroll
                for (int c = 0; c < 4; ++c) {
                    sum.at[c] += nw * p.at[c] + ne * q.at[c] + sw * r.at[c] + se * s.at[c];
                }
            }
        }
    }
    SCALAR* to = out + (at.n * channels + 4 * at.group) * at.plane + at.pixel;
    #pragma unroll
    for (int c = 0; c < 4; ++c) {
        if (4 * at.group + c < channels) stream_to(to + c * at.plane, sum.at[c]);
    }
}

// Four channels of the output's gradient at a pixel.
__device__ __forceinline__ four gradient_at(
    const SCALAR* grad, const Place& at, INDEX group, int channels
) {
    const SCALAR* from = grad + (at.n * channels + 4 * group) * at.plane + at.pixel;
    four g;
    #pragma unroll
    for (int c = 0; c < 4; ++c) {
        g.at[c] = 4 * group + c < channels ? load(from + c * at.plane) : (REAL)0;
    }
    return g;
}

__device__ __forceinline__ REAL product(const four& a, const four& b) {
    return a.at[0] * b.at[0] + a.at[1] * b.at[1] + a.at[2] * b.at[2] + a.at[3] * b.at[3];
}

// grad (N, C, height, width) -> the gradients of weight, alpha and beta
extern "C" __global__ void __launch_bounds__(256, RESIDENT_BACKWARD) adacof_backward(
    const SCALAR* __restrict__ grad, const packed_four* __restrict__ image,
    const SCALAR* __restrict__ weight, const SCALAR* __restrict__ alpha,
    const SCALAR* __restrict__ beta, SCALAR* __restrict__ grad_weight,
    SCALAR* __restrict__ grad_alpha, SCALAR* __restrict__ grad_beta, long long channels_,
    long long height, long long width, long long image_height_, long long image_width_,
    long long side_, long long dilation_
) {
    const int image_height = (int)image_height_, image_width = (int)image_width_;
    const int side = SIDE ? SIDE : (int)side_, dilation = (int)dilation_;
    const int channels = (int)channels_, groups = MANY ? (channels + 3) / 4 : 1;
    const Place at = place((int)height, (int)width, 1);
    if (!at.inside) return;
    const INDEX image_plane = (INDEX)image_height * image_width;
    const packed_four* source = image + at.n * groups * image_plane;
    four g = gradient_at(grad, at, 0, channels);
    INDEX next = at.n * side * side * at.plane + at.pixel;
    #pragma unroll 1
    for (int row = 0; row < side; ++row) {
        #pragma unroll 1
        for (int column = 0; column < side; column += ROW, next += ROW * at.plane) {
            REAL w[ROW], a[ROW], b[ROW];
            #pragma unroll
            for (int k = 0; k < ROW; ++k) {
                w[k] = stream(weight + next + k * at.plane);
                a[k] = stream(alpha + next + k * at.plane);
                b[k] = stream(beta + next + k * at.plane);
            }
            #pragma unroll
            for (int k = 0; k < ROW; ++k) {
                const Tap tap = tap_at(
                    a[k], b[k], at.y + row * dilation, at.x + (column + k) * dilation, image_height,
                    image_width
                );
                REAL nw = 0, ne = 0, sw = 0, se = 0;
                for (int group = 0; group < groups; ++group) {
                    const packed_four* from = source + group * image_plane;
                    if (MANY) g = gradient_at(grad, at, group, channels);
                    nw += product(unpacked(from[tap.nw]), g);
                    ne += product(unpacked(from[tap.ne]), g);
                    sw += product(unpacked(from[tap.sw]), g);
                    se += product(unpacked(from[tap.se]), g);
                }
                const REAL down = tap.down, right = tap.right, up = 1 - down, left = 1 - right;
                const INDEX to = next + k * at.plane;
                const REAL north = left * nw + right * ne, south = left * sw + right * se;
                stream_to(grad_weight + to, up * north + down * south);
                stream_to(grad_alpha + to, w[k] * (left * (sw - nw) + right * (se - ne)));
                stream_to(grad_beta + to, w[k] * (up * (ne - nw) + down * (se - sw)));
            }
        }
    }
}

template <class T> __device__ __forceinline__ void add_four(quad<T>* to, const quad<T>& values) {
    #pragma unroll
    for (int c = 0; c < 4; ++c) atomicAdd(&to->at[c], values.at[c]);
}

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
__device__ __forceinline__ void add_four(quad<float>* to, const quad<float>& values) {
    asm volatile("red.global.add.v4.f32 [%0], {%1, %2, %3, %4};"
                 :: "l"(to), "f"(values.at[0]), "f"(values.at[1]), "f"(values.at[2]),
                    "f"(values.at[3]) : "memory");
}
#endif

__device__ __forceinline__ void add(four* to, REAL share, const four& g) {
    add_four(to, four{{share * g.at[0], share * g.at[1], share * g.at[2], share * g.at[3]}});
}

// Adds to the image's gradient (N, groups, image_height, image_width, 4), in any order.
extern "C" __global__ void __launch_bounds__(256) adacof_scatter(
    const SCALAR* __restrict__ grad, const SCALAR* __restrict__ weight,
    const SCALAR* __restrict__ alpha, const SCALAR* __restrict__ beta, four* __restrict__ sums,
    long long channels_, long long height, long long width, long long image_height_,
    long long image_width_, long long side_, long long dilation_
) {
    const int image_height = (int)image_height_, image_width = (int)image_width_;
    const int side = SIDE ? SIDE : (int)side_, dilation = (int)dilation_;
    const int channels = (int)channels_, groups = MANY ? (channels + 3) / 4 : 1;
    const Place at = place((int)height, (int)width, groups);
    if (!at.inside) return;
    const four g = gradient_at(grad, at, at.group, channels);
    four* to = sums + (at.n * groups + at.group) * ((INDEX)image_height * image_width);
    INDEX next = at.n * side * side * at.plane + at.pixel;
    #pragma unroll 1
    for (int row = 0; row < side; ++row) {
        #pragma unroll 1
        for (int column = 0; column < side; ++column, next += at.plane) {
            const Tap tap = tap_at(
                stream(alpha + next), stream(beta + next), at.y + row * dilation,
                at.x + column * dilation, image_height, image_width
            );
            const REAL w = stream(weight + next);
            const REAL south = w * tap.down, north = w * (1 - tap.down);
            add(to + tap.nw, north * (1 - tap.right), g);
            add(to + tap.ne, north * tap.right, g);
            add(to + tap.sw, south * (1 - tap.right), g);
            add(to + tap.se, south * tap.right, g);
        }
    }
}

// What one tap adds to the image's gradient, corner by corner: shares (N, groups, 4, height, width,
// 4) and the numbers (N, groups, 4, height, width) of the pixels they go to.
extern "C" __global__ void __launch_bounds__(256) adacof_list(
    const SCALAR* __restrict__ grad, const SCALAR* __restrict__ weight,
    const SCALAR* __restrict__ alpha, const SCALAR* __restrict__ beta, four* __restrict__ shares,
    long long* __restrict__ numbers, long long tap_, long long channels_, long long height,
    long long width, long long image_height_, long long image_width_, long long side_,
    long long dilation_
) {
    const int image_height = (int)image_height_, image_width = (int)image_width_;
    const int side = (int)side_, dilation = (int)dilation_, number = (int)tap_;
    const int channels = (int)channels_, groups = MANY ? (channels + 3) / 4 : 1;
    const Place at = place((int)height, (int)width, groups);
    if (!at.inside) return;
    const four g = gradient_at(grad, at, at.group, channels);
    const INDEX next = (at.n * side * side + number) * at.plane + at.pixel;
    const Tap tap = tap_at(
        load(alpha + next), load(beta + next), at.y + number / side * dilation,
        at.x + number % side * dilation, image_height, image_width
    );
    const REAL w = load(weight + next), south = w * tap.down, north = w * (1 - tap.down);
    const REAL share[4] = {
        north * (1 - tap.right), north * tap.right, south * (1 - tap.right), south * tap.right
    };
    const INDEX corner[4] = {tap.nw, tap.ne, tap.sw, tap.se};
    const INDEX image_plane = (INDEX)image_height * image_width, packed = at.n * groups + at.group;
    #pragma unroll
    for (int k = 0; k < 4; ++k) {
        const INDEX to = (packed * 4 + k) * at.plane + at.pixel;
        numbers[to] = (long long)(packed * image_plane + corner[k]);
        #pragma unroll
        for (int c = 0; c < 4; ++c) shares[to].at[c] = share[k] * g.at[c];
    }
}
