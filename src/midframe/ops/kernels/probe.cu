// Tells whether kernels compile and run here, and whether arguments arrive as they are sent.
extern "C" __global__ void probe(SCALAR* out, long long whole, double part) {
    store(out, (REAL)whole + (REAL)part);
}
