// Splatting by gathering: which sources land in which cell between four pixels.
//
// A cell is named by its north-west pixel, which may lie one outside the image: an image has
// (height + 1) * (width + 1) cells. As linked lists (in no fixed order): `head` of each cell,
// `next` of each source. Sorted: sources ordered by their cell's key, `starts` of each cell.

// The cell of source p, or -1; row and column are the source's.
__device__ __forceinline__ INDEX cell_of(
    const REAL* flow, INDEX p, INDEX height, INDEX width, INDEX* row, INDEX* column) {
    const INDEX plane = height * width, image = p / plane, s = p - image * plane;
    *row = s / width;
    *column = s - *row * width;
    const Landing at = land(flow + 2 * image * plane + s, plane, *row, *column, height, width);
    if (!at.inside) return (INDEX)-1;
    return (image * (height + 1) + at.top + 1) * (width + 1) + at.left + 1;
}

// Puts each source in front of its cell's list; `head` is -1 before. A source is named by its row
// and column in 16 bits each.
extern "C" __global__ void splat_link(
    const REAL* __restrict__ flow, int* head, int* __restrict__ next, long long height,
    long long width, long long pixels) {
    const INDEX p = (INDEX)blockIdx.x * (INDEX)blockDim.x + (INDEX)threadIdx.x;
    if (p >= (INDEX)pixels) return;
    INDEX row, column;
    const INDEX cell = cell_of(flow, p, (INDEX)height, (INDEX)width, &row, &column);
    if (cell >= 0) next[p] = atomicExch(head + cell, (int)row << 16 | (int)column);
}

// Writes each source's cell as the key to sort by; `cells`, past them all, for one in none.
extern "C" __global__ void splat_keys(
    const REAL* __restrict__ flow, INDEX* __restrict__ keys, long long height, long long width,
    long long pixels, long long cells) {
    const INDEX p = (INDEX)blockIdx.x * (INDEX)blockDim.x + (INDEX)threadIdx.x;
    if (p >= (INDEX)pixels) return;
    INDEX row, column;
    const INDEX cell = cell_of(flow, p, (INDEX)height, (INDEX)width, &row, &column);
    keys[p] = cell >= 0 ? cell : (INDEX)cells;
}

// Finds where each cell's sources start among the sorted keys, by bisection; one entry more tells
// where those of the last cell end.
extern "C" __global__ void splat_starts(
    const INDEX* __restrict__ keys, INDEX* __restrict__ starts, long long pixels,
    long long cells) {
    const INDEX cell = (INDEX)blockIdx.x * (INDEX)blockDim.x + (INDEX)threadIdx.x;
    if (cell > (INDEX)cells) return;
    INDEX low = 0, high = (INDEX)pixels;  // the first key not below `cell` is in [low, high]
    while (low < high) {
        const INDEX middle = low + (high - low) / 2;
        if (keys[middle] < cell) low = middle + 1;
        else high = middle;
    }
    starts[cell] = low;
}
