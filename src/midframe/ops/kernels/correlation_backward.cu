// Correlation, backward. Either gradient is a sum over displacements d of G(d, p) times the other
// map at p + d, where G is the output's gradient g(d, p) for the first map, g(-d, p + d) for the
// second. A block owns ROWS rows of 32 pixels and a share of the channels.
//
//   RADIUS  r: displacements -r..r
//   ROWS    rows of the tile
//   DYS     vertical displacements of a thread
//   CHUNK   channels in shared memory
//
// A thread keeps G of four pixels and DYS rows of displacements in registers; the threads that
// share four pixels add their parts through shared memory.

constexpr int SIDE = 2 * RADIUS + 1;
constexpr int TILE = 32;
constexpr int LANES = TILE / 4;
constexpr int GROUPS = (SIDE + DYS - 1) / DYS;
constexpr int MARGIN = (RADIUS + 3) / 4 * 4;  // the halo begins at a multiple of four pixels
constexpr int WIDTH = TILE + 2 * MARGIN;
constexpr int FILLED = ROWS + 2 * RADIUS;
constexpr int PLANE = FILLED * WIDTH;
constexpr int OWN = ROWS * TILE;
constexpr int THREADS = LANES * ROWS * GROUPS;
constexpr int FOURS = FILLED * (WIDTH / 4);

// Fills a buffer with `count` channels of the other map; what lies outside stays zero.
__device__ __forceinline__ void fill(
    REAL* buffer, const SCALAR* other, int count, INDEX plane, int left, int top, int height,
    int width, bool aligned, int thread
) {
    #pragma unroll 1
    for (int i = thread; i < FOURS; i += THREADS) {
        const int row = i / (WIDTH / 4), column = i % (WIDTH / 4) * 4;
        const int y = top + row, x = left + column;
        if (y < 0 || y >= height || x <= -4 || x >= width) continue;
        REAL* to = buffer + row * WIDTH + column;
        const SCALAR* from = other + (INDEX)y * width + x;
        if (aligned) {
            #pragma unroll
            for (int c = 0; c < CHUNK; ++c) {
                if (c < count) copy_four(to + c * PLANE, from + c * plane);
            }
        } else {
            #pragma unroll 1
            for (int c = 0; c < count; ++c) {
                #pragma unroll
                for (int k = 0; k < 4; ++k) {
                    if (x + k >= 0 && x + k < width) {
                        copy_one(to + c * PLANE + k, from + c * plane + k);
                    }
                }
            }
        }
    }
}

// grad (N, SIDE^2, H, W) -> grad_first, grad_second (N, C, H, W); `maps` of them from `start` on
extern "C" __global__ void __launch_bounds__(THREADS) correlation_backward(
    const SCALAR* __restrict__ grad, const SCALAR* __restrict__ first,
    const SCALAR* __restrict__ second, SCALAR* __restrict__ grad_first,
    SCALAR* __restrict__ grad_second, long long batch, long long channels_, long long height_,
    long long width_, long long start, long long maps, long long splits_, long long share_,
    long long aligned_
) {
    alignas(16) __shared__ REAL buffers[2][CHUNK * PLANE];
    alignas(16) __shared__ REAL parts[GROUPS][CHUNK * OWN];
    const int channels = (int)channels_, height = (int)height_, width = (int)width_;
    const int splits = (int)splits_, share = (int)share_;
    const bool aligned = aligned_ != 0;
    const INDEX plane = (INDEX)height * width;

    const unsigned int across = (width + TILE - 1) / TILE, down = (height + ROWS - 1) / ROWS;
    unsigned int block = blockIdx.x;
    const int x0 = (int)(block % across) * TILE;
    block /= across;
    const int y0 = (int)(block % down) * ROWS;
    block /= down;
    const int begin = (int)(block % splits) * share;
    const int end = begin + share < channels ? begin + share : channels;
    block /= splits;
    const bool to_second = (int)start + (int)(block % (int)maps) == 1;
    const INDEX n = (INDEX)(block / (int)maps);

    const int lane_x = (int)threadIdx.x * 4, row = (int)threadIdx.y, group = (int)threadIdx.z;
    const int thread = (int)threadIdx.x + LANES * (row + ROWS * group);
    const quad<REAL> zero = {};
    for (int i = 4 * thread; i < 2 * CHUNK * PLANE; i += 4 * THREADS) {
        *(quad<REAL>*)(&buffers[0][0] + i) = zero;
    }
    __syncthreads();
    const SCALAR* other = (to_second ? first : second) + (n * channels + begin) * plane;
    int count = end - begin < CHUNK ? end - begin : CHUNK;
    const int left = x0 - MARGIN, top = y0 - RADIUS;
    fill(buffers[0], other, count, plane, left, top, height, width, aligned, thread);

    REAL g[DYS][4][SIDE];
    #pragma unroll
    for (int j = 0; j < DYS; ++j) {
        #pragma unroll
        for (int d = 0; d < SIDE; ++d) {
            const int dy = group * DYS + j - RADIUS, dx = d - RADIUS;
            const int y = y0 + row + (to_second ? dy : 0);
            const int x = x0 + lane_x + (to_second ? dx : 0);
            const int number = (dy + RADIUS) * SIDE + d;
            const INDEX of = n * (SIDE * SIDE) + (to_second ? SIDE * SIDE - 1 - number : number);
            const SCALAR* from = grad + of * plane + (INDEX)y * width + x;
            const bool is_row = dy <= RADIUS && y >= 0 && y < height;
            #pragma unroll
            for (int p = 0; p < 4; ++p) {
                g[j][p][d] = is_row && x + p >= 0 && x + p < width ? load(from + p) : (REAL)0;
            }
        }
    }

    const REAL scale = (REAL)1 / (REAL)channels;
    const bool whole = width % 4 == 0;
    SCALAR* out = (to_second ? grad_second : grad_first) + (n * channels + begin) * plane;
    int buffer = 0;
    for (int c0 = begin; c0 < end; c0 += CHUNK, buffer ^= 1, out += CHUNK * plane) {
        finish_copies();
        __syncthreads();
        const int now = count;
        if (c0 + CHUNK < end) {
            count = end - c0 - CHUNK < CHUNK ? end - c0 - CHUNK : CHUNK;
            other += CHUNK * plane;
            fill(buffers[buffer ^ 1], other, count, plane, left, top, height, width, aligned, thread);
        }
        const REAL* halo = buffers[buffer] + (row + group * DYS) * WIDTH + lane_x;
        REAL* part = parts[group] + row * TILE + lane_x;
        #pragma unroll 1
        for (int c = 0; c < now; ++c, halo += PLANE, part += OWN) {
            quad<REAL> sums = {};
            #pragma unroll
            for (int j = 0; j < DYS; ++j) {
                if (GROUPS * DYS > SIDE && group * DYS + j >= SIDE) break;  // a whole warp does
                #pragma unroll
                for (int v = 0; v < (4 + 2 * MARGIN) / 4; ++v) {
                    const quad<REAL> b = *(const quad<REAL>*)(halo + j * WIDTH + 4 * v);
                    #pragma unroll
                    for (int k = 0; k < 4; ++k) {
                        #pragma unroll
                        for (int p = 0; p < 4; ++p) {
                            const int d = 4 * v + k - p - (MARGIN - RADIUS);
                            if (d >= 0 && d < SIDE) sums.at[p] += g[j][p][d] * b.at[k];
                        }
                    }
                }
            }
            *(quad<REAL>*)part = sums;
        }
        __syncthreads();
        for (int i = 4 * thread; i < now * OWN; i += 4 * THREADS) {
            quad<REAL> sum = *(const quad<REAL>*)(parts[0] + i);
            #pragma unroll
            for (int k = 1; k < GROUPS; ++k) {
                const quad<REAL> more = *(const quad<REAL>*)(parts[k] + i);
                #pragma unroll
                for (int p = 0; p < 4; ++p) sum.at[p] += more.at[p];
            }
            #pragma unroll
            for (int p = 0; p < 4; ++p) sum.at[p] *= scale;
            const int c = i / OWN, y = y0 + i % OWN / TILE, x = x0 + i % TILE;
            if (y < height) {
                store_some(out + c * plane + (INDEX)y * width + x, sum, width - x, whole);
            }
        }
    }
}
