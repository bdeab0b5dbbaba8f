// The plain C interface of the kernels: what library.py calls. One caller at a time.

#include "table.hpp"

namespace abruzzi {

namespace portable { extern const Table table; }
#if defined(__x86_64__)
namespace avx2 { extern const Table table; }
namespace avx512 { extern const Table table; }
namespace avx512bf16 { extern const Table table; }
#endif

struct InstructionSet {
    const char* name;
    const Table* table;
    bool usable;
};

// The best first.
static const std::vector<InstructionSet>& instruction_sets() {
    static const std::vector<InstructionSet> sets = [] {
        std::vector<InstructionSet> found;
#if defined(__x86_64__)
        __builtin_cpu_init();
        const bool fast = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
        const bool wide = fast && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
        found.push_back({"avx512bf16", &avx512bf16::table, wide && __builtin_cpu_supports("avx512bf16")});
        found.push_back({"avx512", &avx512::table, wide});
        found.push_back({"avx2", &avx2::table, fast});
#endif
        found.push_back({"portable", &portable::table, true});
        return found;
    }();
    return sets;
}

static const Table* kernels = nullptr;

}  // namespace abruzzi

using namespace abruzzi;

extern "C" {

// The name of the i-th instruction set that this machine can use, best first; null after the last.
const char* abruzzi_instruction_set(int index) {
    for (const auto& set : instruction_sets())
        if (set.usable && index-- == 0) return set.name;
    return nullptr;
}

// Uses an instruction set by name from now on. 0, or -1 if it is not usable.
int abruzzi_use(const char* name) {
    for (const auto& set : instruction_sets()) {
        if (set.usable && !std::strcmp(set.name, name)) {
            kernels = set.table;
            return 0;
        }
    }
    return -1;
}

void abruzzi_threads(int threads) { Pool::shared().resize(threads); }

void abruzzi_linear(const Matrix* weight, bf16* x, int64_t x_stride, int64_t tokens, bf16* out) {
    kernels->linear(*weight, {x, x_stride}, tokens, {out, weight->rows});
}

void abruzzi_experts(const Matrix* gate_ups, const Matrix* downs, int64_t count, bf16* x, int64_t x_stride,
                     int64_t tokens, int64_t per_token, const float* weights, const int64_t* ids, bf16* out) {
    kernels->experts(*gate_ups, *downs, count, {x, x_stride}, tokens, per_token, weights, ids, {out, downs->rows});
}

void abruzzi_rms_norm(bf16* x, int64_t x_stride, int64_t tokens, int64_t width, const bf16* weight, float eps,
                      bf16* out) {
    kernels->rms_norm({x, x_stride}, tokens, width, weight, eps, {out, width});
}

void abruzzi_add_rms_norm(bf16* x, bf16* delta, int64_t tokens, int64_t width, const bf16* weight, float eps,
                          bf16* sums, bf16* out) {
    kernels->add_rms_norm({x, width}, {delta, width}, tokens, width, weight, eps, {sums, width}, {out, width});
}

void abruzzi_mla_store(bf16* query, int64_t query_stride, bf16* latent, int64_t latent_stride, bf16* key,
                       int64_t key_stride, int64_t tokens, int64_t heads, int64_t nope, int64_t rotary,
                       const bf16* norm, float eps, const float* turns, int interleaved, const Cache* cache,
                       const int64_t* slots, bf16* out) {
    kernels->mla_store({query, query_stride}, {latent, latent_stride}, {key, key_stride}, tokens, heads, nope, rotary,
                       norm, eps, turns, interleaved, *cache, slots, out);
}

void abruzzi_gqa_store(bf16* query, int64_t query_stride, bf16* key, int64_t key_stride, bf16* value,
                       int64_t value_stride, int64_t tokens, int64_t heads, int64_t kv_heads, int64_t width,
                       const bf16* q_norm, const bf16* k_norm, float eps, const float* turns, int interleaved,
                       const Cache* cache, const int64_t* slots, bf16* out) {
    kernels->gqa_store({query, query_stride}, {key, key_stride}, {value, value_stride}, tokens, heads, kv_heads, width,
                       q_norm, k_norm, eps, turns, interleaved, *cache, slots, out);
}

void abruzzi_mla_decode(const Decode* decode, const Cache* cache, bf16* query, int64_t query_stride, const bf16* up_k,
                        const bf16* up_v, int64_t nope, int64_t rotary, int64_t value, bf16* out) {
    kernels->mla_decode(*decode, *cache, {query, query_stride}, up_k, up_v, nope, rotary, value, out);
}

void abruzzi_gqa_decode(const Decode* decode, const Cache* cache, bf16* query, int64_t query_stride, int64_t kv_heads,
                        bf16* out) {
    kernels->gqa_decode(*decode, *cache, {query, query_stride}, kv_heads, out);
}

void abruzzi_mla_prefill(bf16* query, int64_t query_stride, int64_t tokens, int64_t heads, const Cache* cache,
                         const int64_t* blocks, int64_t start, const bf16* up_k, const bf16* up_v, int64_t nope,
                         int64_t rotary, int64_t value, float scale, bf16* out) {
    kernels->mla_prefill({query, query_stride}, tokens, heads, *cache, blocks, start, up_k, up_v, nope, rotary, value,
                         scale, out);
}

void abruzzi_gqa_prefill(bf16* query, int64_t query_stride, int64_t tokens, int64_t heads, const Cache* cache,
                         const int64_t* blocks, int64_t start, int64_t kv_heads, float scale, bf16* out) {
    kernels->gqa_prefill({query, query_stride}, tokens, heads, *cache, blocks, start, kv_heads, scale, out);
}

void abruzzi_route(const Router* router, bf16* x, int64_t x_stride, int64_t tokens, float* weights, int64_t* ids) {
    kernels->route(*router, {x, x_stride}, tokens, weights, ids);
}

}  // extern "C"
