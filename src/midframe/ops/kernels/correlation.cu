// Correlation, forward: a block owns ROWS rows of 32 pixels and DYS rows of displacements.
//
//   RADIUS  r: displacements -r..r
//   ROWS    rows of the tile, and as many pixels in x that each thread owns
//   DYS     vertical displacements of a block, one per warp
//
// A thread holds ROWS * (2 r + 1) sums, so that each value read from shared memory serves up to
// 2 r + 1 products. Chunks of channels lie in two buffers: one is filled while the other is used.

constexpr int SIDE = 2 * RADIUS + 1;
constexpr int PIXELS = ROWS;
constexpr int TILE = 32;
constexpr int LANES = TILE / PIXELS;
constexpr int GROUPS = (SIDE + DYS - 1) / DYS;
constexpr int MARGIN = (RADIUS + 3) / 4 * 4;  // the halo begins at a multiple of four pixels
constexpr int WIDTH = TILE + 2 * MARGIN;
constexpr int HEIGHT = ROWS + DYS - 1;
constexpr int PITCH = WIDTH + 4;  // an odd number of fours: eight lanes of two rows, no conflict
constexpr int OWN_PITCH = TILE + 4;
constexpr int HALO = HEIGHT * PITCH;
constexpr int PLANE = HALO + ROWS * OWN_PITCH;
constexpr int FITTING = 49152 / 2 / (int)sizeof(REAL) / PLANE;
constexpr int CHUNK = FITTING < 8 ? FITTING : 8;
constexpr int THREADS = 32 * DYS;

constexpr int HALO_FOURS = HEIGHT * (WIDTH / 4);
constexpr int FOURS = HALO_FOURS + ROWS * (TILE / 4);

// Fills a buffer with CHUNK channels of both maps, or the `rest`; what lies outside stays zero.
__device__ __forceinline__ void fill(
    REAL* buffer, const SCALAR* first, const SCALAR* second, int rest, INDEX plane, int x0, int y0,
    int top, int height, int width, bool aligned
) {
    if (rest <= 0) return;
    #pragma unroll 1
    for (int i = threadIdx.x + 32 * threadIdx.y; i < FOURS; i += THREADS) {
        const bool halo = i < HALO_FOURS;
        const int k = halo ? i : i - HALO_FOURS;
        const int row = halo ? k / (WIDTH / 4) : k / (TILE / 4);
        const int column = 4 * (halo ? k % (WIDTH / 4) : k % (TILE / 4));
        const int y = row + (halo ? top : y0);
        const int x = column + (halo ? x0 - MARGIN : x0);
        if (y < 0 || y >= height || x <= -4 || x >= width) continue;
        REAL* to = buffer + (halo ? row * PITCH : HALO + row * OWN_PITCH) + column;
        const SCALAR* from = (halo ? second : first) + (INDEX)y * width + x;
        if (aligned) {
            #pragma unroll
            for (int c = 0; c < CHUNK; ++c, to += PLANE, from += plane) {
                if (c < rest) copy_four(to, from);
            }
        } else {
            #pragma unroll 1
            for (int c = 0; c < CHUNK && c < rest; ++c) {
                #pragma unroll
                for (int j = 0; j < 4; ++j) {
                    if (x + j >= 0 && x + j < width) {
                        copy_one(to + c * PLANE + j, from + c * plane + j);
                    }
                }
            }
        }
    }
}

// first, second (N, C, H, W); out (N, SIDE^2, H, W) the means; or, where the channels are dealt out
// over several blocks, partial (splits, N, SIDE^2, H, W) their sums.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) correlation(
    const SCALAR* __restrict__ first, const SCALAR* __restrict__ second, SCALAR* __restrict__ out,
    REAL* __restrict__ partial, long long batch_, long long channels_, long long height_,
    long long width_, long long splits_, long long share_, long long aligned_
) {
    alignas(16) __shared__ REAL buffers[2][CHUNK * PLANE];
    const int channels = (int)channels_, height = (int)height_, width = (int)width_;
    const int splits = (int)splits_;
    const bool aligned = aligned_ != 0;
    const INDEX plane = (INDEX)height * width;

    const unsigned int across = (width + TILE - 1) / TILE, down = (height + ROWS - 1) / ROWS;
    unsigned int block = blockIdx.x;
    const int x0 = (int)(block % across) * TILE;
    block /= across;
    const int y0 = (int)(block % down) * ROWS;
    block /= down;
    const int dy0 = (int)(block % GROUPS) * DYS;
    block /= GROUPS;
    const int split = (int)(block % splits);
    const INDEX n = (INDEX)(block / splits);
    const int share = (int)share_;
    const int begin = split * share;
    const int end = begin + share < channels ? begin + share : channels;

    const int lane_x = (int)(threadIdx.x % LANES) * PIXELS, row = (int)(threadIdx.x / LANES);
    const int warp = (int)threadIdx.y;
    const quad<REAL> zero = {};
    for (int i = 4 * (int)(threadIdx.x + 32 * warp); i < 2 * CHUNK * PLANE; i += 4 * THREADS) {
        *(quad<REAL>*)(&buffers[0][0] + i) = zero;
    }
    __syncthreads();

    REAL sums[PIXELS][SIDE] = {};
    const int top = y0 + dy0 - RADIUS;
    INDEX at = (n * channels + begin) * plane;
    int rest = end - begin, buffer = 0;
    fill(buffers[0], first + at, second + at, rest, plane, x0, y0, top, height, width, aligned);
    for (; rest > 0; rest -= CHUNK, buffer ^= 1) {
        finish_copies();
        __syncthreads();
        at += CHUNK * plane;
        fill(
            buffers[buffer ^ 1], first + at, second + at, rest - CHUNK, plane, x0, y0, top, height,
            width, aligned
        );
        const REAL* own = buffers[buffer] + HALO + row * OWN_PITCH + lane_x;
        const REAL* halo = buffers[buffer] + (row + warp) * PITCH + lane_x;
        const REAL* const stop = own + (rest < CHUNK ? rest : CHUNK) * PLANE;
        #pragma unroll 1
        for (; own != stop; own += PLANE, halo += PLANE) {
            quad<REAL> a[PIXELS / 4];
            #pragma unroll
            for (int v = 0; v < PIXELS / 4; ++v) a[v] = *(const quad<REAL>*)(own + 4 * v);
            #pragma unroll
            for (int v = 0; v < (PIXELS + 2 * MARGIN) / 4; ++v) {
                const quad<REAL> b = *(const quad<REAL>*)(halo + 4 * v);
                #pragma unroll
                for (int k = 0; k < 4; ++k) {
                    #pragma unroll
                    for (int p = 0; p < PIXELS; ++p) {
                        const int d = 4 * v + k - p - (MARGIN - RADIUS);
                        if (d >= 0 && d < SIDE) sums[p][d] += a[p / 4].at[p % 4] * b.at[k];
                    }
                }
            }
        }
    }

    const int y = y0 + row, x = x0 + lane_x, dy = dy0 + warp;
    if (y >= height || x >= width || dy >= SIDE) return;
    const REAL scale = (REAL)1 / (REAL)channels;
    const INDEX pixel = ((n * SIDE + dy) * SIDE * height + y) * width + x;
    const INDEX total = (INDEX)batch_ * SIDE * SIDE * plane;
    const bool whole = width % 4 == 0;
    #pragma unroll
    for (int d = 0; d < SIDE; ++d) {
        #pragma unroll
        for (int v = 0; v < PIXELS / 4; ++v) {
            const int left_over = width - x - 4 * v;
            quad<REAL> four;
            #pragma unroll
            for (int k = 0; k < 4; ++k) four.at[k] = sums[4 * v + k][d] * (splits == 1 ? scale : 1);
            const INDEX to = pixel + d * plane + 4 * v;
            if (splits == 1) store_some(out + to, four, left_over, whole);
            else store_some(partial + split * total + to, four, left_over, whole);
        }
    }
}

// out (total) = the mean over the channels whose sums lie in partial (splits, total).
extern "C" __global__ void correlation_mean(
    const REAL* __restrict__ partial, SCALAR* __restrict__ out, long long channels,
    long long splits, long long total_
) {
    const INDEX total = (INDEX)total_;
    const INDEX i = (INDEX)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= total) return;
    REAL sum = 0;
    for (int split = 0; split < (int)splits; ++split) sum += partial[split * total + i];
    store(out + i, sum * ((REAL)1 / (REAL)channels));
}
