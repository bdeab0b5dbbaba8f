// What crosses from Python: plain structs, row-major memory. library.py mirrors them.
#pragma once

#include <cstdint>

namespace abruzzi {

using bf16 = uint16_t;

enum Format : int32_t { PLAIN, FP8, INT8, INT4 };

// Values of a matrix [rows, columns] or of a stack of them, in a format of engine/kernels/packed.py.
struct Matrix {
    const void* values;
    const void* scale;
    int64_t rows, columns;
    int32_t format;
    int32_t scale_is_float;  // else bfloat16; fp8's always is
};

// Rows x of width `width`, `stride` values apart.
struct Rows {
    bf16* data;
    int64_t stride;
};

struct Cache {
    bf16* data;         // [blocks, block_size, width]
    int64_t block_size, width;
};

struct Router {
    const float* gate;  // [experts, hidden]
    const float* bias;  // [experts], or none: softmax over all
    int64_t experts, hidden, per_token, groups, groups_kept;
    int32_t normalize;
    float scale;
};

// Requests of a decode group; `table` holds block ids, a row of `table_stride` for each.
struct Decode {
    int64_t requests, heads;
    const int64_t* table;
    int64_t table_stride;
    const int64_t* lengths;
    float scale;
};

}  // namespace abruzzi
