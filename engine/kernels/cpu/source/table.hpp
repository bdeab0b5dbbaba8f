// The functions that every instruction set brings, and what they are written with.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "threads.hpp"
#include "types.hpp"

namespace abruzzi {

struct Table {
    void (*linear)(const Matrix&, Rows, int64_t tokens, Rows out);
    void (*experts)(const Matrix& gate_ups, const Matrix& downs, int64_t count, Rows, int64_t tokens,
                    int64_t per_token, const float* weights, const int64_t* ids, Rows out);
    void (*rms_norm)(Rows, int64_t tokens, int64_t width, const bf16* weight, float eps, Rows out);
    void (*add_rms_norm)(Rows, Rows delta, int64_t tokens, int64_t width, const bf16* weight, float eps, Rows sums,
                         Rows out);
    void (*add)(Rows, Rows, int64_t tokens, int64_t width, Rows out);
    void (*xielu)(Rows, int64_t tokens, int64_t width, const bf16* alpha_p, const bf16* alpha_n, Rows out);
    void (*mla_store)(Rows query, Rows latent, Rows key, int64_t tokens, int64_t heads, int64_t nope, int64_t rotary,
                      const bf16* norm, float eps, const float* turns, bool interleaved, Cache, const int64_t* slots,
                      bf16* out);
    void (*gqa_store)(Rows query, Rows key, Rows value, int64_t tokens, int64_t heads, int64_t kv_heads, int64_t width,
                      const bf16* q_norm, const bf16* k_norm, float eps, const float* turns, bool interleaved, Cache,
                      const int64_t* slots, bf16* out);
    void (*mla_decode)(const Decode&, Cache, Rows query, const bf16* up_k, const bf16* up_v, int64_t nope,
                       int64_t rotary, int64_t value, bf16* out);
    void (*gqa_decode)(const Decode&, Cache, Rows query, int64_t kv_heads, bf16* out);
    void (*mla_prefill)(Rows query, int64_t tokens, int64_t heads, Cache, const int64_t* blocks, int64_t start,
                        const bf16* up_k, const bf16* up_v, int64_t nope, int64_t rotary, int64_t value, float scale,
                        bf16* out);
    void (*gqa_prefill)(Rows query, int64_t tokens, int64_t heads, Cache, const int64_t* blocks, int64_t start,
                        int64_t kv_heads, float scale, bf16* out);
    void (*route)(const Router&, Rows, int64_t tokens, float* weights, int64_t* ids);
};

}  // namespace abruzzi
